"""What the files of two comparable evaluations hold, side by side."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from upath import UPath

from manylabel.eval.errors import EvaluationError
from manylabel.eval.review.pair import Evaluated, Pair
from manylabel.eval.statistics.class_labels import ClassGains
from manylabel.eval.store.evaluations import (
    evaluation_directory,
    read_classes,
    read_images,
    read_parts,
    read_positives,
)
from manylabel.storage.errors import TableError

# Sums of the tables and the summary's values are rounded differently; what is of another
# evaluation is further away.
_ROUNDING = 1e-9


@dataclass(frozen=True, eq=False)
class Side:
    """The results of one evaluation; C labels, I images, P held-out labels of images, J parts.

    Attributes:
        average_precision: float64 [C], of labels; NaN without held-out images.
        contributions: float64 [C], to the class form.
        image_values: float64 [I], weighted average precision of images; NaN is not counted.
        gains: float64 [P], in the image form, by label and then image.
        class_gains: [P], in the class form.
        parts: float64 [J], the class form without each part of the images.
        part_bands: float64 [J, B], the same by band of label frequency.
    """

    average_precision: NDArray[np.float64]
    contributions: NDArray[np.float64]
    image_values: NDArray[np.float64]
    gains: NDArray[np.float64]
    class_gains: ClassGains
    parts: NDArray[np.float64]
    part_bands: NDArray[np.float64]

    @classmethod
    def of(cls, read: "_Tables") -> Self:
        """Takes what differs between evaluations out of their tables."""
        parts = read.parts.column("bands")
        bands = parts.combine_chunks().flatten().to_numpy(zero_copy_only=False)
        return cls(
            average_precision=_floats(read.classes, "average_precision"),
            contributions=_floats(read.classes, "contribution"),
            image_values=_floats(read.images, "weighted_average_precision"),
            gains=_floats(read.positives, "gain"),
            class_gains=ClassGains(
                gains=_floats(read.positives, "class_gain"),
                scores=read.positives.column("score").to_numpy(),
            ),
            parts=_floats(read.parts, "weighted_map_class"),
            part_bands=bands.reshape(len(parts), -1),
        )


@dataclass(frozen=True, eq=False)
class Sides:
    """Two evaluations of the same held-out labels.

    Attributes:
        labels: Columns `class_id`, `name`, `weight`, `train_count`, `heldout_count`; C rows.
        class_ids: int32 [P], of each held-out label of an image, ascending.
        image_rows: int32 [P], its image.
        groups: int64 [I], near-duplicate group of each image.
        label_weight: float64 [I], sum of the weights of an image's labels.
        candidate: Results.
        reference: Results.
    """

    labels: pa.Table
    class_ids: NDArray[np.int32]
    image_rows: NDArray[np.int32]
    groups: NDArray[np.int64]
    label_weight: NDArray[np.float64]
    candidate: Side
    reference: Side


@dataclass(frozen=True, eq=False)
class _Tables:
    classes: pa.Table
    images: pa.Table
    positives: pa.Table
    parts: pa.Table


# Columns that evaluations of the same held-out labels have in common.
_SHARED = {
    "classes": ("class_id", "name", "weight", "train_count", "heldout_count"),
    "images": ("image_row", "near_duplicate_group", "labels", "label_weight"),
    "positives": ("class_id", "image_row"),
    "parts": ("part",),
}


def read_sides(pair: Pair) -> Sides:
    """Reads both evaluations.

    Raises:
        EvaluationError: a file is missing, damaged or of another evaluation; names it, and the
            command that makes it again.
    """
    one, other = (_read(each) for each in (pair.candidate, pair.reference))
    for name, columns in _SHARED.items():
        if not getattr(one, name).select(columns).equals(getattr(other, name).select(columns)):
            raise EvaluationError(
                f"{_path(pair.reference, name)}: expected the {columns[-1]} of "
                f"{_path(pair.candidate, name)}, received others, though the dataset is the same; "
                f"remove both folders and run {pair.candidate.remade_by()} and "
                f"{pair.reference.remade_by()}"
            )
    return Sides(
        labels=one.classes.select(_SHARED["classes"]),
        class_ids=one.positives.column("class_id").to_numpy(),
        image_rows=one.positives.column("image_row").to_numpy(),
        groups=one.images.column("near_duplicate_group").to_numpy(),
        label_weight=_floats(one.images, "label_weight"),
        candidate=Side.of(one),
        reference=Side.of(other),
    )


def _read(evaluated: Evaluated) -> _Tables:
    def read(reader: Callable[[Path, int, str], pa.Table]) -> pa.Table:
        try:
            return reader(*evaluated.place)
        except TableError as error:
            # Its cause: the store's own advice knows neither the settings nor scored predictions.
            problem = error.__cause__ or error
            raise EvaluationError(f"{problem}; run {evaluated.remade_by()}") from error

    tables = _Tables(read(read_classes), read(read_images), read(read_positives), read(read_parts))
    scores = evaluated.summary.scores
    for name, received, expected in (
        ("classes", _floats(tables.classes, "contribution").sum(), scores.weighted_map_class),
        (
            "images",
            np.nanmean(_floats(tables.images, "weighted_average_precision")),
            scores.weighted_map_image,
        ),
    ):
        if not abs(received - expected) <= _ROUNDING:
            raise EvaluationError(
                f"{_path(evaluated, name)}: expected results that make up the weighted MAP "
                f"{expected:.6f} of summary.json beside it, received {received:.6f}; evaluate "
                f"again: {evaluated.remade_by()}"
            )
    return tables


def _path(evaluated: Evaluated, name: str) -> UPath:
    return evaluation_directory(*evaluated.place) / f"{name}.parquet"


def _floats(table: pa.Table, column: str) -> NDArray[np.float64]:
    """A column; null becomes NaN."""
    values: NDArray[np.float64] = table.column(column).to_numpy()
    return values
