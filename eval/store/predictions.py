"""The best classes of each image: in memory as batches, on disk as predictions.parquet."""

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from upath import UPath

from manylabel.eval.errors import EvaluationError
from manylabel.storage.atomic import replacing
from manylabel.storage.documents import Document
from manylabel.storage.errors import reason_of
from manylabel.storage.locations import Location
from manylabel.storage.tables import opened_table

PREDICTIONS_SCHEMA = pa.schema(
    [
        pa.field("image_id", pa.string(), nullable=False),
        pa.field("class_ids", pa.list_(pa.int32()), nullable=False),
        pa.field("scores", pa.list_(pa.float32()), nullable=False),
    ]
)
"""One row per image; the lists are parallel and equally long: best first, ties by class id."""

_ORIGIN_KEY = b"manylabel.origin"


class ScoreKind(StrEnum):
    """What the scores of predictions are.

    LOGIT: of a sigmoid for each class; the sigmoid itself is 1 in float32 from about 17 on.
    LOG_PROBABILITY: natural logarithm of a softmax.
    """

    LOGIT = "logit"
    LOG_PROBABILITY = "log_probability"

    def probability(self, score: float) -> float:
        """What a score stands for, in [0, 1]."""
        if self is ScoreKind.LOG_PROBABILITY:
            return math.exp(min(score, 0.0))
        small = math.exp(-abs(score))  # Never overflows.
        return (1 if score >= 0 else small) / (1 + small)


class PredictionOrigin(Document):
    """What predictions were made from; kept in the file's metadata.

    Attributes:
        dataset_digest: Content digest of the dataset, whose label table the class ids belong to.
        checkpoint_digest: Of the checkpoint that predicted.
        k: Predictions of an image that were asked for; there are fewer where classes are.
    """

    NOUN: ClassVar[str] = "the origin of predictions"
    REMEDY: ClassVar[str] = "predict again"

    format_version: Literal[1] = 1
    dataset_digest: str
    checkpoint_digest: str
    score_kind: ScoreKind
    k: int


@dataclass(frozen=True, eq=False)
class PredictionBatch:
    """The k best classes of B images, checked and in canonical order.

    A row may be given in any order: it is put best score first, equal scores by ascending class
    id. Which of several equal scores made it into the k best is the predictor's choice.

    Attributes:
        image_ids: B strings.
        class_ids: int32 [B, k], different within a row.
        scores: float32 [B, k], finite; only their order matters.

    Raises:
        EvaluationError: shapes or types do not fit, a score is not finite, a class id is negative
            or listed twice for one image.
    """

    image_ids: Sequence[str]
    class_ids: NDArray[np.int32]
    scores: NDArray[np.float32]

    def __post_init__(self) -> None:
        shape = self.class_ids.shape
        if len(shape) != 2 or shape[0] != len(self.image_ids) or shape[1] == 0:
            raise EvaluationError(
                f"predictions: expected class ids of shape [{len(self.image_ids)}, k] with k >= 1 "
                f"for {len(self.image_ids)} images, received {list(shape)}"
            )
        if self.scores.shape != shape:
            raise EvaluationError(
                f"predictions: expected one score per class id, received scores of shape "
                f"{list(self.scores.shape)} and class ids of shape {list(shape)}"
            )
        if self.class_ids.dtype != np.int32 or self.scores.dtype != np.float32:
            raise EvaluationError(
                f"predictions: expected int32 class ids and float32 scores, received "
                f"{self.class_ids.dtype} and {self.scores.dtype}"
            )
        self._refuse(~np.isfinite(self.scores), self.scores, "finite scores")
        self._refuse(self.class_ids < 0, self.class_ids, "class ids of 0 or more")
        in_order = np.sort(self.class_ids, axis=1)
        repeated = in_order[:, 1:] == in_order[:, :-1]
        self._refuse(repeated, in_order[:, 1:], "each class once")
        self._put_in_order()

    def _refuse(self, wrong: NDArray[np.bool_], values: NDArray, expected: str) -> None:
        if wrong.any():
            row, column = np.argwhere(wrong)[0]
            raise EvaluationError(
                f"predictions of image {self.image_ids[row]!r:.200}: expected {expected}, "
                f"received {values[row, column]}; predict again"
            )

    def _put_in_order(self) -> None:
        scores, class_ids = self.scores, self.class_ids
        rising = scores[:, 1:] > scores[:, :-1]
        swapped_tie = (scores[:, 1:] == scores[:, :-1]) & (class_ids[:, 1:] < class_ids[:, :-1])
        if (rising | swapped_tie).any():
            order = np.lexsort((class_ids, -scores), axis=1)
            # The dataclass is frozen to its readers, not to its own construction.
            object.__setattr__(self, "class_ids", np.take_along_axis(class_ids, order, axis=1))
            object.__setattr__(self, "scores", np.take_along_axis(scores, order, axis=1))


def write_predictions(
    path: Location, batches: Iterable[PredictionBatch], origin: PredictionOrigin
) -> int:
    """Writes predictions.parquet batch by batch and returns the number of images.

    The file appears when the last batch is written. The origin goes into its metadata, so that
    class ids are never read against another label table.
    """
    schema = PREDICTIONS_SCHEMA.with_metadata({_ORIGIN_KEY: origin.model_dump_json()})
    images = 0
    with (
        replacing(path) as file,
        pq.ParquetWriter(file, schema, write_page_checksum=True) as writer,
    ):
        for batch in batches:
            columns = [
                pa.array(batch.image_ids, pa.string()),
                _as_lists(batch.class_ids),
                _as_lists(batch.scores),
            ]
            writer.write_table(pa.Table.from_arrays(columns, schema=schema))
            images += len(batch.image_ids)
    return images


def read_predictions(path: Location, batch_size: int) -> Iterator[PredictionBatch]:
    """Reads a file with the columns of PREDICTIONS_SCHEMA, at most `batch_size` images at a time.

    Wider number types, as other tools write them, are accepted when every value fits.

    Raises:
        EvaluationError: the file is missing, not such a table, or `PredictionBatch` refuses it.
        TableError: it is damaged.
    """
    with _opened(path) as table:
        for rows in table.iter_batches(
            batch_size, columns=PREDICTIONS_SCHEMA.names, use_threads=False
        ):
            rows.validate(full=True)  # Text that is not UTF-8 is read without a complaint.
            try:
                rows = rows.cast(PREDICTIONS_SCHEMA)
            except (ValueError, pa.ArrowNotImplementedError) as error:
                reason = reason_of(error)
                raise EvaluationError(
                    f"{path}: expected columns of types {PREDICTIONS_SCHEMA.types}: {reason}"
                ) from error
            try:
                batch = PredictionBatch(
                    rows.column("image_id").to_pylist(),
                    _as_matrix(rows.column("class_ids")),
                    _as_matrix(rows.column("scores")),
                )
            except EvaluationError as error:
                raise EvaluationError(f"{path}: {error}") from error
            yield batch


def read_origin(path: Location) -> PredictionOrigin | None:
    """What a file of predictions was made from; None for a file of another tool.

    Raises:
        EvaluationError: the file is missing.
        TableError: it is damaged.
        DocumentError: another version of manylabel wrote it.
    """
    with _opened(path) as table:
        text = (table.schema_arrow.metadata or {}).get(_ORIGIN_KEY)
    return None if text is None else PredictionOrigin.parse(text, path)


@contextmanager
def _opened(path: Location) -> Iterator[pq.ParquetFile]:
    if not UPath(path).is_file():
        raise EvaluationError(f"{path}: no such file of predictions; predict first")
    with opened_table(path) as table:
        if not set(PREDICTIONS_SCHEMA.names) <= set(table.schema_arrow.names):
            raise EvaluationError(
                f"{path}: expected columns {PREDICTIONS_SCHEMA.names}, "
                f"received {table.schema_arrow.names}"
            )
        yield table


def _as_lists(matrix: NDArray) -> pa.ListArray:
    offsets = np.arange(len(matrix) + 1, dtype=np.int32) * matrix.shape[1]
    return pa.ListArray.from_arrays(offsets, np.ascontiguousarray(matrix).ravel())


def _as_matrix(lists: pa.ListArray) -> NDArray:
    """[B, k] from B lists; a null in a list or another length is an error."""
    lengths = lists.value_lengths().to_numpy()
    values = lists.flatten()
    if lengths.min() != lengths.max() or values.null_count:
        raise EvaluationError(
            f"expected as many predictions for every image, none of them null, received "
            f"{lengths.min()} to {lengths.max()} and {values.null_count} nulls"
        )
    return values.to_numpy().reshape(len(lists), -1)
