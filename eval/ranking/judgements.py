"""What is known of each image: its labels, and where somebody looked, what it does not show."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from manylabel.eval.errors import EvaluationError


@dataclass(frozen=True, eq=False)
class Positives:
    """The labels of I images as compressed rows.

    Attributes:
        row_splits: int64 [I + 1], from 0; image i has class_ids[row_splits[i]:row_splits[i + 1]].
        class_ids: int32 [P], in [0, num_classes), ascending and without repeats within an image.
        num_classes: Size of the vocabulary.

    Raises:
        EvaluationError: one of these does not hold; names the image's row.
    """

    row_splits: NDArray[np.int64]
    class_ids: NDArray[np.int32]
    num_classes: int

    def __post_init__(self) -> None:
        if self.row_splits.dtype != np.int64 or self.class_ids.dtype != np.int32:
            raise EvaluationError(
                f"labels: expected int64 row splits and int32 class ids, received "
                f"{self.row_splits.dtype} and {self.class_ids.dtype}"
            )
        self._check_row_splits()
        self._check_class_ids()

    def _check_row_splits(self) -> None:
        splits, ids = self.row_splits, self.class_ids
        if splits.ndim != 1 or ids.ndim != 1 or not len(splits):
            raise EvaluationError(
                f"labels: expected row splits of shape [images + 1] and class ids of shape "
                f"[labels], received {list(splits.shape)} and {list(ids.shape)}"
            )
        if splits[0] != 0 or splits[-1] != len(ids):
            raise EvaluationError(
                f"labels: expected row splits from 0 to {len(ids)}, the number of class ids, "
                f"received {splits[0]} to {splits[-1]}"
            )
        falling = np.flatnonzero(splits[1:] < splits[:-1])
        if falling.size:
            row = falling[0]
            raise EvaluationError(
                f"labels of image row {row}: expected row splits that do not fall, received "
                f"{splits[row]} and then {splits[row + 1]}"
            )

    def _check_class_ids(self) -> None:
        ids = self.class_ids
        if not ids.size:
            return
        outside = (ids < 0) | (ids >= self.num_classes)
        if outside.any():
            place = int(np.argmax(outside))
            raise EvaluationError(
                f"labels of image row {self._row_at(place)}: expected class ids in "
                f"[0, {self.num_classes}), received {ids[place]}"
            )
        unsorted = ids[1:] <= ids[:-1]
        starts = self.row_splits[1:-1]
        unsorted[starts[(starts > 0) & (starts < len(ids))] - 1] = False  # Between two images.
        if unsorted.any():
            place = int(np.argmax(unsorted))
            raise EvaluationError(
                f"labels of image row {self._row_at(place)}: expected ascending class ids without "
                f"repeats, received {ids[place]} and then {ids[place + 1]}"
            )

    def _row_at(self, place: int) -> int:
        return int(np.searchsorted(self.row_splits, place, side="right")) - 1

    @property
    def num_images(self) -> int:
        """I, images without a label included."""
        return len(self.row_splits) - 1

    @property
    def counts(self) -> NDArray[np.int64]:
        """Labels of each image, int64 [I]."""
        return np.diff(self.row_splits)

    @property
    def rows(self) -> NDArray[np.int64]:
        """The image of each label, int64 [P], ascending."""
        return np.repeat(np.arange(self.num_images), self.counts)

    def select(self, rows: NDArray[np.int64]) -> Self:
        """The labels of the images `rows` (int64 [B]), in that order."""
        counts = self.counts[rows]
        row_splits = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        shift = self.row_splits[rows] - row_splits[:-1]
        places = np.arange(row_splits[-1]) + np.repeat(shift, counts)
        return type(self)(row_splits, self.class_ids[places], self.num_classes)


@dataclass(frozen=True, eq=False)
class Judgements:
    """What predictions are held against.

    Attributes:
        positives: The labels.
        negatives: Classes that somebody looked for and did not find. Given, what is neither a
            label nor one of these is unknown and is taken out of every ranking before ranks are
            counted (`eval.unknown: ignore`). None: all that is no label is wrong
            (`eval.unknown: negative`).

    Raises:
        EvaluationError: the two are of other images or classes, or an image has a class in both.
    """

    positives: Positives
    negatives: Positives | None = None

    def __post_init__(self) -> None:
        if self.negatives is None:
            return
        sizes = [(each.num_images, each.num_classes) for each in (self.positives, self.negatives)]
        if sizes[0] != sizes[1]:
            raise EvaluationError(
                f"negatives: expected those of {sizes[0][0]} images and {sizes[0][1]} classes, as "
                f"the labels are, received {sizes[1][0]} images and {sizes[1][1]} classes"
            )
        labels, absent = (
            each.rows * each.num_classes + each.class_ids
            for each in (self.positives, self.negatives)
        )
        both = np.intersect1d(labels, absent, assume_unique=True)
        if both.size:
            row, class_id = divmod(int(both[0]), self.positives.num_classes)
            raise EvaluationError(
                f"judgements of image row {row}: expected a class to be a label or a negative, "
                f"received class {class_id} as both, and {both.size - 1} more such; mend the labels"
            )

    @property
    def num_images(self) -> int:
        """I, images without a label included."""
        return self.positives.num_images

    @property
    def num_classes(self) -> int:
        """C, the size of the vocabulary."""
        return self.positives.num_classes

    def select(self, rows: NDArray[np.int64]) -> Self:
        """The judgements of the images `rows` (int64 [B]), in that order."""
        negatives = self.negatives and self.negatives.select(rows)
        return type(self)(self.positives.select(rows), negatives)
