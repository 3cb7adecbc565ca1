"""Small pictures of held-out images, from the records of their shards."""

import io
from functools import lru_cache

import pyarrow as pa
from PIL import Image, UnidentifiedImageError

from manylabel.storage.dataset import Dataset
from manylabel.storage.errors import CorruptRecordError, DatasetError, reason_of
from manylabel.storage.manifest import HELDOUT_IMAGES_NAME, RecordShard
from manylabel.storage.schema import (
    HELDOUT_IMAGES_SCHEMA,
    LabelledImage,
    SplitName,
    decode_example,
)
from manylabel.storage.stand_ins import read_head, text_instead
from manylabel.storage.tables import read_table
from manylabel.storage.tfrecord import FOOTER_BYTES, HEADER_BYTES, read_record

SIZE = 256
"""Pixels of the longer side: twice what a page shows, for dense displays."""

_MOST_PIXELS = 50_000_000
"""Asked of the header, before anything is decoded: 150 MB of RGB. Preprocessing's default limit."""
_QUALITY = 82
_KEPT_TABLES = 8


def thumbnail(dataset: Dataset, image_row: int, size: int = SIZE) -> bytes:
    """A held-out image as JPEG, encoded anew, its longer side at most `size` pixels.

    Raises:
        DatasetError: there is no such row, or the record there is not that image's.
        StorageError: a table or the record is missing or damaged.
    """
    return _reduced(heldout_image(dataset, image_row), size)


def heldout_image(dataset: Dataset, image_row: int) -> LabelledImage:
    """The record of a row of heldout_images.parquet, read at its offset; raises as `thumbnail`."""
    table = _heldout_images(dataset)
    if not 0 <= image_row < table.num_rows:
        raise DatasetError(
            f"{dataset.root}: expected a held-out image of 0 to {table.num_rows - 1}, received "
            f"{image_row}"
        )
    row = table.slice(image_row, 1).to_pylist()[0]
    shard = _shard(dataset, row["shard"])
    index = _index(dataset, shard)
    place = row["place"]
    offset, length = (index.column(name)[place].as_py() for name in ("byte_offset", "byte_length"))
    path = dataset.path(shard.path)
    try:
        with path.open("rb") as file:
            file.seek(offset)
            data = file.read(HEADER_BYTES + length + FOOTER_BYTES)
    except FileNotFoundError as error:
        raise DatasetError(
            f"{path}: no such shard; `manylabel preprocess` makes it anew"
        ) from error
    try:
        image = decode_example(read_record(data, 0, str(path)))
    except CorruptRecordError as error:
        if (instead := text_instead(read_head(path))) is not None:
            raise DatasetError(f"{path}: expected a shard, received {instead}") from error
        raise
    if image.image_id != row["image_id"]:
        raise DatasetError(
            f"{path}: expected the record of {row['image_id']!r} at byte {offset}, received that "
            f"of {image.image_id!r}; preprocess again"
        )
    return image


def _reduced(record: LabelledImage, size: int) -> bytes:
    try:
        with Image.open(io.BytesIO(record.encoded), formats=["JPEG"]) as image:
            if image.width * image.height > _MOST_PIXELS:
                raise DatasetError(
                    f"{record.image_id}: expected at most {_MOST_PIXELS:,} pixels, received "
                    f"{image.width} x {image.height}"
                )
            image.draft("RGB", (size, size))  # Decodes a large image at an eighth of its size.
            small = image.convert("RGB")
    except Image.DecompressionBombError as error:  # Pillow's own limit, which is far above ours.
        raise DatasetError(f"{record.image_id}: too many pixels: {reason_of(error)}") from error
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise DatasetError(f"{record.image_id}: not a readable JPEG: {reason_of(error)}") from error
    small.thumbnail((size, size), Image.Resampling.LANCZOS)
    data = io.BytesIO()
    small.save(data, "JPEG", quality=_QUALITY)
    return data.getvalue()


def _shard(dataset: Dataset, name: str) -> RecordShard:
    for shard in dataset.split(SplitName.HELDOUT).shards:
        if shard.path.rpartition("/")[2].removesuffix(".tfrecord") == name:
            return shard
    raise DatasetError(
        f"{dataset.root / HELDOUT_IMAGES_NAME}: expected shards that the manifest lists, received "
        f"{name!r}; preprocess again"
    )


# By content, not by path: a dataset that is made again is another one.


def _heldout_images(dataset: Dataset) -> pa.Table:
    return _read_heldout_images(_Keyed(dataset, dataset.content_digest))


def _index(dataset: Dataset, shard: RecordShard) -> pa.Table:
    return _read_index(_Keyed(dataset, shard.sha256), shard)


class _Keyed:
    """A dataset under a key that caches compare."""

    def __init__(self, dataset: Dataset, digest: str) -> None:
        self.dataset = dataset
        self._key = str(dataset.root), digest

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Keyed) and other._key == self._key

    def __hash__(self) -> int:
        return hash(self._key)


@lru_cache(_KEPT_TABLES)
def _read_heldout_images(keyed: _Keyed) -> pa.Table:
    return read_table(keyed.dataset.root / HELDOUT_IMAGES_NAME, HELDOUT_IMAGES_SCHEMA)


@lru_cache(_KEPT_TABLES)
def _read_index(keyed: _Keyed, shard: RecordShard) -> pa.Table:
    return keyed.dataset.read_index(shard).select(["byte_offset", "byte_length"])
