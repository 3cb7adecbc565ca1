"""Predictions that another tool wrote: a Parquet file, checked and brought into our form.

One row an image, in any order:

    image_id   text, or image_row: integer, as in the dataset's heldout_images.parquet
    class_ids  list of integers, rows of the dataset's labels.parquet;
               or labels: list of text, names of labels
    scores     list of numbers, parallel: logits, or probabilities; any that sort the same way

All lists are equally long, and at least min(k, labels); their order does not matter. Scores that
all lie within [0, 1] are taken for probabilities and turned into logits, which in 32 bits keep
apart what is next to 1. Further columns are left alone.
"""

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from upath import UPath

from manylabel.eval.errors import EvaluationError
from manylabel.eval.store.predictions import (
    PREDICTIONS_SCHEMA,
    PredictionBatch,
    ScoreKind,
    read_origin,
)
from manylabel.storage.dataset import Dataset
from manylabel.storage.errors import reason_of
from manylabel.storage.locations import Location
from manylabel.storage.tables import opened_table

_IMAGES = ("image_id", "image_row")
_CLASSES = ("class_ids", "labels")
_SCORES = "scores"
# Logits of the least and the greatest 64-bit float within (0, 1) lie between.
_LOGIT_BOUNDS = (-746.0, 38.0)


@dataclass(frozen=True, eq=False)
class OtherPredictions:
    """A file whose columns fit; `batches` reads it.

    Attributes:
        path: The file.
        score_kind: What the scores are once they are read.
        images: Name of the column that names the images.
        classes: Name of the column that names the classes.
        probabilities: Whether the file's scores are turned into logits.
        image_ids: Of the dataset's held-out images, by row.
        class_of: Class id of each label's name.
    """

    path: Location
    score_kind: ScoreKind
    images: str
    classes: str
    probabilities: bool
    image_ids: list[str]
    class_of: dict[str, int]

    @classmethod
    def open(cls, path: Location, dataset: Dataset) -> Self:
        """Looks at the columns and at the range of the scores.

        Raises:
            EvaluationError: columns are missing or of other types, or the file says that it is of
                another dataset.
            TableError: the file is missing or damaged.
        """
        if not _is_file(path):
            raise EvaluationError(f"{path}: no such file of predictions")
        with opened_table(path) as table:
            names = table.schema_arrow.names
        images, classes = (_one_of(choice, names, path) for choice in (_IMAGES, _CLASSES))
        _one_of((_SCORES,), names, path)
        ours = set(PREDICTIONS_SCHEMA.names) <= set(names)
        origin = read_origin(path) if ours else None
        if origin is not None and origin.dataset_digest != dataset.content_digest:
            raise EvaluationError(
                f"{path}: expected predictions for {dataset.root} (content "
                f"{dataset.content_digest[:12]}), received those for the dataset of content "
                f"{origin.dataset_digest[:12]}; name that one with --dataset"
            )
        return cls(
            path=path,
            score_kind=ScoreKind.LOGIT if origin is None else origin.score_kind,
            images=images,
            classes=classes,
            probabilities=origin is None and _within_unit_interval(path),
            image_ids=dataset.heldout_images().column("image_id").to_pylist(),
            class_of={name: place for place, name in enumerate(dataset.label_names())},
        )

    def batches(self, batch_size: int) -> Iterator[PredictionBatch]:
        """The predictions of at most `batch_size` images at a time.

        Raises:
            EvaluationError: a row is not as it should be; names it.
            TableError: the file is damaged.
        """
        with opened_table(self.path) as table:
            columns = [self.images, self.classes, _SCORES]
            for rows in table.iter_batches(batch_size, columns=columns, use_threads=False):
                rows.validate(full=True)  # Text that is not UTF-8 is read without a complaint.
                try:
                    yield self._batch(rows)
                except EvaluationError as error:
                    raise EvaluationError(f"{self.path}: {error}") from error

    def _batch(self, rows: pa.RecordBatch) -> PredictionBatch:
        image_ids = self._image_ids(rows.column(self.images))
        scores = _matrix(_cast(rows, _SCORES, pa.float64()), image_ids, _SCORES)
        if self.probabilities:
            scores = _logits(scores)
        return PredictionBatch(image_ids, self._class_ids(rows, image_ids), _single(scores))

    def _image_ids(self, column: pa.Array) -> list[str]:
        if column.null_count:
            raise EvaluationError(f"{self.images}: expected no null, received {column.null_count}")
        if self.images == "image_id":
            if not _is_text(column.type):
                raise EvaluationError(
                    f"image_id: expected text, received {column.type}; rows of "
                    "heldout_images.parquet belong into a column image_row"
                )
            image_ids: list[str] = column.cast(pa.string()).to_pylist()
            return image_ids
        if not pa.types.is_integer(column.type):
            raise EvaluationError(f"image_row: expected integers, received {column.type}")
        rows: list[int] = column.to_pylist()
        for row in rows:
            if not 0 <= row < len(self.image_ids):
                raise EvaluationError(
                    f"image_row: expected rows in [0, {len(self.image_ids)}), received {row}; the "
                    "predictions belong to another dataset"
                )
        return [self.image_ids[row] for row in rows]

    def _class_ids(self, rows: pa.RecordBatch, image_ids: list[str]) -> NDArray[np.int32]:
        if self.classes == "class_ids":
            lists = _cast(rows, "class_ids", pa.int32())
            return _matrix(lists, image_ids, "class_ids").astype(np.int32)
        names = _cast(rows, "labels", pa.string())
        encoded = pc.dictionary_encode(names.flatten())
        class_ids = np.array([self._class_id(name) for name in encoded.dictionary.to_pylist()])
        lists = pa.ListArray.from_arrays(
            pa.array(np.concatenate([[0], np.cumsum(names.value_lengths())]), pa.int32()),
            pa.array(class_ids[encoded.indices.to_numpy()], pa.int32()),
        )
        return _matrix(lists, image_ids, "labels").astype(np.int32)

    def _class_id(self, name: str) -> int:
        # As preprocessing normalises labels, or equal names would not meet.
        found = self.class_of.get(unicodedata.normalize("NFC", name).strip())
        if found is None:
            raise EvaluationError(
                f"labels: expected names of the dataset's {len(self.class_of)} labels, received "
                f"{name!r:.200}; the predictions belong to another dataset"
            )
        return found


def _is_file(path: Location) -> bool:
    try:
        return UPath(path).is_file()
    except (ValueError, ImportError) as error:  # A protocol that nothing here speaks.
        raise EvaluationError(f"{path}: cannot be opened: {reason_of(error)}") from error


def _one_of(choice: tuple[str, ...], names: list[str], path: Location) -> str:
    found = [name for name in names if name in choice]
    if len(found) != 1:
        raise EvaluationError(
            f"{path}: expected {'one' if len(choice) > 1 else 'a'} column "
            f"{' or '.join(choice)}, received {names}"
        )
    return found[0]


def _cast(rows: pa.RecordBatch, name: str, item: pa.DataType) -> pa.ListArray:
    """A column as lists of a type that holds each of its values."""
    column = rows.column(name)
    if column.null_count:
        raise EvaluationError(f"{name}: expected a list in every row, received a null")
    listed = getattr(column.type, "value_type", pa.null())
    fits = pa.types.is_integer if pa.types.is_integer(item) else _is_number
    if item == pa.string():
        fits = _is_text
    if not fits(listed):
        raise EvaluationError(f"{name}: expected lists of {item}, received {column.type}")
    try:
        return column.cast(pa.list_(item))
    except pa.ArrowInvalid as error:  # A class id beyond 32 bits, a list of a fixed size.
        reason = reason_of(error)
        raise EvaluationError(f"{name}: expected lists of {item}: {reason}") from error


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    )


def _matrix(lists: pa.ListArray, image_ids: list[str], name: str) -> NDArray:
    """[B, k] from B lists."""
    lengths = lists.value_lengths().to_numpy()
    if (lengths != lengths[0]).any():
        other = int(np.argmax(lengths != lengths[0]))
        raise EvaluationError(
            f"{name}: expected as many for every image, received {lengths[0]} for "
            f"{image_ids[0]!r} and {lengths[other]} for {image_ids[other]!r}; write the k best of "
            "each"
        )
    values = lists.flatten()
    if values.null_count:
        raise EvaluationError(f"{name}: expected no null, received {values.null_count}")
    return values.to_numpy().reshape(len(lists), -1)


def _single(scores: NDArray[np.float64]) -> NDArray[np.float32]:
    """Too large a score becomes infinite, which `PredictionBatch` refuses by name."""
    with np.errstate(over="ignore"):
        return scores.astype(np.float32)


def _within_unit_interval(path: Location) -> bool:
    with opened_table(path) as table:
        for rows in table.iter_batches(columns=[_SCORES], use_threads=False):
            try:
                lists = _cast(rows, _SCORES, pa.float64())
            except EvaluationError as error:
                raise EvaluationError(f"{path}: {error}") from error
            values = lists.flatten().to_numpy(zero_copy_only=False)
            if ((values < 0) | (values > 1)).any():
                return False
    return True


def _logits(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    with np.errstate(divide="ignore"):
        logits = np.log(probabilities) - np.log1p(-probabilities)
    return np.clip(logits, *_LOGIT_BOUNDS)
