"""Open Images' tables, as the reader of all CSV catalogs reads them, and where images are."""

import csv
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from manylabel.preprocessing.catalog_config import CatalogConfig, CatalogFormat
from manylabel.preprocessing.catalogs.columns import MAX_SHOWN
from manylabel.preprocessing.catalogs.csv_file import read_csv
from manylabel.preprocessing.catalogs.files import one_file
from manylabel.preprocessing.catalogs.rows import gather
from manylabel.preprocessing.catalogs.text_file import open_text
from manylabel.preprocessing.errors import PreprocessingError

IMAGE = "ImageID"
ORIGINAL_URL = "OriginalURL"

_IMAGE_ID = "^[0-9a-f]{16}$"
_MAX_HEADER_BYTES = 1 << 16


def read_columns(
    config: CatalogConfig, path: str, label: str, confidence: str | None, group: str
) -> Iterator[pa.Table]:
    """Tables of `rows.raw_table` of a file with the column ImageID and others of these names.

    Raises:
        PreprocessingError: it has no such header, or is no CSV.
    """
    file = one_file(config, path)
    expected = [name for name in (IMAGE, group, label, confidence) if name is not None]
    with open_text(file, "CSV of Open Images") as opened:
        first = opened.readline(_MAX_HEADER_BYTES).decode("utf-8-sig", "replace")
    lines = first.splitlines(keepends=True)  # Old Macs end them by \r alone.
    header = [cell.strip() for cell in next(csv.reader(lines), [])]
    if not set(expected) <= set(header):
        raise PreprocessingError(
            f"{path}: expected a header with {','.join(expected)}, as Open Images' file has it, "
            f"received {first.strip()[:MAX_SHOWN]!r}"
        )
    settings = {
        "format": CatalogFormat.CSV,
        "image_column": IMAGE,
        "label_column": label,
        "confidence_column": confidence,
        "group_column": group,
    }
    return gather(read_csv(file.model_copy(update=settings)))


class ImageUrls:
    """The URLs of images by their ImageID: 16 bytes an image, and the URLs' own."""

    def __init__(self, config: CatalogConfig, path: str, column: str) -> None:
        """Reads a list of images; an empty cell of the column stands for the original URL.

        Raises:
            PreprocessingError: another kind of file, or an ImageID that is none.
        """
        numbers, urls = [np.empty(0, np.uint64)], [pa.array([], pa.large_string())]
        for table in read_columns(config, path, column, None, ORIGINAL_URL):
            image, url, original = (
                table[name].combine_chunks() for name in ("image", "label", "group")
            )
            number, known = _numbers(image)
            if not known.all():
                received = image.filter(pa.array(~known))[0].as_py()
                raise PreprocessingError(
                    f"{path}: expected ImageIDs of 16 hexadecimal digits, received {received!r}"
                )
            numbers.append(number)
            urls.append(pc.coalesce(url, original, "").cast(pa.large_string()))
        self._numbers = np.concatenate(numbers)
        self._order = np.argsort(self._numbers, kind="stable")
        self._numbers = self._numbers[self._order]
        self._urls = pa.chunked_array(urls)

    def of(self, images: pa.Array) -> pa.Array:
        """The URL of each image; its ImageID where there is none."""
        number, known = _numbers(images)
        at = np.searchsorted(self._numbers, number)
        listed = at < len(self._numbers)
        listed[listed] = self._numbers[at[listed]] == number[listed]
        places = np.full(len(images), -1)
        places[np.flatnonzero(known)[listed]] = self._order[at[listed]]
        urls = self._urls.take(pa.array(places, mask=places < 0)).combine_chunks().cast(pa.string())
        return pc.if_else(pc.equal(pc.coalesce(urls, ""), ""), images, urls)


def _numbers(images: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """The ImageIDs as numbers, of those that are any; and which are."""
    known = pc.match_substring_regex(images, _IMAGE_ID)
    digits = pc.binary_join_element_wise(images.filter(known), "", "")  # A copy without gaps.
    raw = np.frombuffer(digits.buffers()[2] or b"", np.uint8)[: 16 * len(digits)].reshape(-1, 16)
    values = np.where(raw >= ord("a"), raw - (ord("a") - 10), raw - ord("0"))
    data = values[:, 0::2] << 4 | values[:, 1::2]
    return data.view(">u8").ravel().astype(np.uint64), known.to_numpy(zero_copy_only=False)
