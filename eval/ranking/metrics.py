"""Ranking metrics that stream over batches of predictions; docs/metric.md has the formulas.

An image is scored by the ranking of its k best classes against the set of its labels. A class
that is not among the labels counts as wrong: verified absences and unknown classes are not told
apart. That distinction would enter in one place, as a mask beside `find_hits`.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Positives:
    """The labels of B images as compressed rows.

    Attributes:
        row_splits: int64 [B + 1], from 0; image b has class_ids[row_splits[b]:row_splits[b + 1]].
        class_ids: int32 [P], ascending and without repeats within an image.
    """

    row_splits: NDArray[np.int64]
    class_ids: NDArray[np.int32]

    @property
    def counts(self) -> NDArray[np.int64]:
        """Labels of each image, int64 [B]."""
        return np.diff(self.row_splits)

    @property
    def rows(self) -> NDArray[np.int64]:
        """The image of each label, int64 [P], ascending."""
        return np.repeat(np.arange(len(self.row_splits) - 1), self.counts)

    def select(self, rows: NDArray[np.int64]) -> Self:
        """The labels of the images `rows` (int64 [B]), in that order."""
        counts = self.counts[rows]
        row_splits = np.concatenate([[0], np.cumsum(counts)])
        shift = self.row_splits[rows] - row_splits[:-1]
        places = np.arange(row_splits[-1]) + np.repeat(shift, counts)
        return type(self)(row_splits, self.class_ids[places])


def find_hits(
    class_ids: NDArray[np.int32], positives: Positives, num_classes: int
) -> NDArray[np.bool_]:
    """Whether each prediction is a label of its image, bool [B, k].

    Args:
        class_ids: [B, k], each in [0, num_classes).
        positives: Labels of the same B images.
        num_classes: Size of the vocabulary.
    """
    keys = positives.rows * num_classes + positives.class_ids
    if not keys.size:
        return np.zeros(class_ids.shape, dtype=bool)
    wanted = np.arange(len(class_ids))[:, np.newaxis] * num_classes + class_ids
    places = np.searchsorted(keys, wanted)
    return keys[np.minimum(places, keys.size - 1)] == wanted


@dataclass(frozen=True)
class ImageScores:
    """Means over images.

    Attributes:
        weighted_map: Mean of AP_w over the images whose labels have a positive total weight.
        map: The same with equal weights, over the images with labels: trec_eval's map_cut_k.
        recall: Hits among the k best / number of labels.
        precision: By rank n, hits among the n best / n (also where fewer than n classes exist).
        images: Images with labels.
        images_without_labels: Skipped everywhere.
        images_without_weight: Images whose labels all weigh zero: in `map`, not in
            `weighted_map`.
    """

    weighted_map: float
    map: float
    recall: float
    precision: dict[int, float]
    images: int
    images_without_labels: int
    images_without_weight: int


class ImageMetrics:
    """Streams the means over images; holds a few sums whatever the number of images."""

    def __init__(self, class_weights: NDArray[np.float64], precision_at: tuple[int, ...]) -> None:
        """Takes non-negative weights, float64 [C], and the ranks of precision@n."""
        self._weights = class_weights
        self._precision_at = precision_at
        self._weighted_ap = self._ap = self._recall = 0.0
        self._precision_hits = np.zeros(len(precision_at), dtype=np.int64)
        self._images = self._without_labels = self._without_weight = 0

    def update(
        self, class_ids: NDArray[np.int32], hits: NDArray[np.bool_], positives: Positives
    ) -> None:
        """Adds B images: their rankings [B, k], best first, the hits in them, their labels."""
        labels = positives.counts
        label_weight = np.bincount(
            positives.rows, self._weights[positives.class_ids], minlength=len(labels)
        )
        found = np.cumsum(hits, axis=1)
        gain = np.where(hits, found / np.arange(1, hits.shape[1] + 1), 0.0)
        weighted_gain = np.einsum("bk,bk->b", gain, self._weights[class_ids])

        labelled, weighty = labels > 0, label_weight > 0
        self._weighted_ap += float((weighted_gain[weighty] / label_weight[weighty]).sum())
        self._ap += float((gain.sum(axis=1)[labelled] / labels[labelled]).sum())
        self._recall += float((found[labelled, -1] / labels[labelled]).sum())
        for place, rank in enumerate(self._precision_at):
            self._precision_hits[place] += int(np.count_nonzero(hits[:, :rank]))
        self._images += int(np.count_nonzero(labelled))
        self._without_labels += int(np.count_nonzero(~labelled))
        self._without_weight += int(np.count_nonzero(labelled & ~weighty))

    def result(self) -> ImageScores:
        """The means so far; NaN where no image counts."""
        return ImageScores(
            weighted_map=_ratio(self._weighted_ap, self._images - self._without_weight),
            map=_ratio(self._ap, self._images),
            recall=_ratio(self._recall, self._images),
            precision={
                rank: _ratio(float(hits), rank * self._images)
                for rank, hits in zip(self._precision_at, self._precision_hits, strict=True)
            },
            images=self._images,
            images_without_labels=self._without_labels,
            images_without_weight=self._without_weight,
        )


@dataclass(frozen=True, eq=False)
class ClassScores:
    """Average precision of each class over the images.

    Attributes:
        weighted_map: Mean of `average_precision` weighted by class, over classes with images.
        map: The same with equal weights.
        average_precision: float64 [C]; NaN for a class that no image has.
        positives: Images that have the class, int64 [C].
        hits: Those of them whose k best hold the class, int64 [C].
    """

    weighted_map: float
    map: float
    average_precision: NDArray[np.float64]
    positives: NDArray[np.int64]
    hits: NDArray[np.int64]


class ClassMetrics:
    """Collects the ranking of the images by each class.

    The exact average precision of a class needs the order of all its scores, so this holds 13
    bytes for each of the k predictions of each image (18 MB for 14,000 images and k = 100), and
    twice as much again while `result` sorts.
    """

    def __init__(self, class_weights: NDArray[np.float64]) -> None:
        """Takes non-negative weights, float64 [C]."""
        self._weights = class_weights
        self._positives = np.zeros(len(class_weights), dtype=np.int64)
        self._class_ids: list[NDArray[np.int32]] = []
        self._scores: list[NDArray[np.float32]] = []
        self._image_rows: list[NDArray[np.int32]] = []
        self._hits: list[NDArray[np.bool_]] = []

    def update(
        self,
        class_ids: NDArray[np.int32],
        scores: NDArray[np.float32],
        hits: NDArray[np.bool_],
        positives: Positives,
        image_rows: NDArray[np.int64],
    ) -> None:
        """Adds B images: class_ids, scores and hits are [B, k]; image_rows [B] breaks ties."""
        self._positives += np.bincount(positives.class_ids, minlength=len(self._weights))
        self._class_ids.append(class_ids.astype(np.int32).ravel())
        self._scores.append(scores.astype(np.float32).ravel())
        self._image_rows.append(np.repeat(image_rows.astype(np.int32), class_ids.shape[1]))
        self._hits.append(hits.ravel())

    def result(self) -> ClassScores:
        """The scores of the images so far; the weighted means are NaN where no class counts."""
        class_ids, hits = self._ranked_by_class()
        num_classes = len(self._weights)
        retrieved = np.bincount(class_ids, minlength=num_classes)
        starts = np.cumsum(retrieved) - retrieved
        found_before = np.concatenate([[0], np.cumsum(hits)])
        places = np.flatnonzero(hits)
        at = class_ids[places]
        rank = places - starts[at] + 1
        found = found_before[places] - found_before[starts[at]] + 1
        gain = np.bincount(at, found / rank, minlength=num_classes)

        present = self._positives > 0
        average_precision = np.full(num_classes, np.nan)
        average_precision[present] = gain[present] / self._positives[present]
        weights = self._weights[present]
        return ClassScores(
            weighted_map=_ratio(float(weights @ average_precision[present]), float(weights.sum())),
            map=_ratio(float(average_precision[present].sum()), int(np.count_nonzero(present))),
            average_precision=average_precision,
            positives=self._positives.copy(),
            hits=np.bincount(at, minlength=num_classes),
        )

    def _ranked_by_class(self) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
        """Class and hit of every prediction: by class, best score first, then by image row."""
        if not self._class_ids:
            return np.zeros(0, dtype=np.int32), np.zeros(0, dtype=bool)
        class_ids = np.concatenate(self._class_ids)
        scores = np.concatenate(self._scores)
        order = np.lexsort((np.concatenate(self._image_rows), -scores, class_ids))
        return class_ids[order], np.concatenate(self._hits)[order]


def _ratio(total: float, count: float) -> float:
    return total / count if count else float("nan")
