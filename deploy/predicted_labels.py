"""Files of the labels that a model gives to new images.

Parquet has a row an image, in the order of their paths: `image_path`, the parallel lists `labels`
and `scores` (best first), and `fault`, null for an image that was seen. What model it was is in the
file's metadata.

CSV has a row a label: image_path,label,score,rank,fault. An image that was not seen has one row,
with its fault alone. The first columns are those of a catalog, so that predicted labels can be
looked through, corrected and learnt from.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from manylabel.deploy.errors import DeploymentError
from manylabel.deploy.origin import ModelOrigin
from manylabel.deploy.spreadsheets import FORMULA, as_text, line
from manylabel.storage.atomic import replacing
from manylabel.storage.errors import TableError
from manylabel.storage.tables import opened_table

LABELS_OF_IMAGES_SCHEMA = pa.schema(
    [
        pa.field("image_path", pa.string(), nullable=False),
        pa.field("labels", pa.list_(pa.string()), nullable=False),
        pa.field("scores", pa.list_(pa.float32()), nullable=False),
        pa.field("fault", pa.string()),
    ]
)
ORIGIN_KEY = b"manylabel.model"
CSV_HEADER = ("image_path", "label", "score", "rank", "fault")
_ROW_GROUP = 4096  # Images; with 100 labels each some 10 MB are held.


@dataclass(frozen=True)
class Prediction:
    """What a model says of one image.

    Attributes:
        labels: best first; scores: their probabilities. Both empty where there is a fault.
        fault: why the image was not seen; None if it was.
    """

    labels: tuple[str, ...]
    scores: tuple[float, ...]
    fault: str | None = None


Write = Callable[[str, Prediction], None]
"""Called with an image's path, relative to the folder that was asked for, with slashes."""


@contextmanager
def labels_file(path: Path, origin: ModelOrigin) -> Iterator[Write]:
    """A file of predicted labels, Parquet or CSV by its suffix, to be written image by image.

    It appears when the block ends without an error.

    Raises:
        DeploymentError: the suffix is another, or a file is there that is of another kind.
        OSError: the file cannot be written.
    """
    if path.suffix.lower() not in (".parquet", ".csv"):
        raise DeploymentError(f"{path}: expected a file that ends in .parquet or .csv")
    is_csv = path.suffix.lower() == ".csv"
    _refuse_others(path, is_csv)
    with replacing(path) as file, _csv(file) if is_csv else _parquet(file, origin) as write:
        yield write


def _refuse_others(path: Path, is_csv: bool) -> None:
    """Catalogs and tables of classes have such names as well; no label by hand is to be lost."""
    if path.is_dir():
        raise DeploymentError(f"{path}: expected a file to write, received a folder")
    if not path.exists():
        return
    if is_csv:
        with path.open("rb") as file:
            header = ",".join(CSV_HEADER).encode()
            is_ours = file.readline(len(header) + 2).rstrip(b"\r\n") == header
    else:
        try:
            with opened_table(path) as table:
                is_ours = ORIGIN_KEY in (table.schema_arrow.metadata or {})
        except TableError:
            is_ours = False
    if not is_ours:
        raise DeploymentError(
            f"{path}: expected a new file, or predicted labels to replace; there is another file, "
            "which stays; name another one with --output"
        )


@contextmanager
def _parquet(file: BinaryIO, origin: ModelOrigin) -> Iterator[Write]:
    schema = LABELS_OF_IMAGES_SCHEMA.with_metadata({ORIGIN_KEY: origin.to_bytes()})
    waiting: list[dict[str, object]] = []
    with pq.ParquetWriter(file, schema, write_page_checksum=True) as writer:

        def flush() -> None:
            writer.write_table(pa.Table.from_pylist(waiting, schema=schema))
            waiting.clear()

        def write(image_path: str, prediction: Prediction) -> None:
            waiting.append({"image_path": image_path, **asdict(prediction)})
            if len(waiting) == _ROW_GROUP:
                flush()

        yield write
        flush()


@contextmanager
def _csv(file: BinaryIO) -> Iterator[Write]:
    def write(image_path: str, prediction: Prediction) -> None:
        path = _path_as_text(image_path)
        if prediction.fault is not None:
            file.write(line(path, "", "", "", as_text(prediction.fault)).encode())
        ranked = zip(prediction.labels, prediction.scores, strict=True)
        for rank, (label, score) in enumerate(ranked, start=1):
            file.write(line(path, as_text(label), f"{score:.9g}", str(rank), "").encode())

    file.write(line(*CSV_HEADER).encode())
    yield write


def _path_as_text(path: str) -> str:
    """The same path, spelled so that no spreadsheet takes it for a formula."""
    return f"./{path}" if path.startswith(FORMULA) else path
