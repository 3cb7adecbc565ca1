"""The metric of a set of rankings; docs/metric.md has the formulas.

An image is scored by the ranking of its k best classes (image form), a class by the ranking of the
images that hold it among their k best (class form).
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from manylabel.eval.errors import EvaluationError
from manylabel.eval.ranking import class_rankings, kernels
from manylabel.eval.ranking.judgements import Judgements, Positives
from manylabel.eval.ranking.matching import Match, match
from manylabel.eval.ranking.scores import (
    ClassScores,
    ImageScores,
    LabelScores,
    MeasuredCounts,
    OverallScores,
)


class Rankings:
    """Collects the k best classes of images, 8 bytes for each of them.

    Collections of different images can be merged; how the images were dealt to them, and in which
    order they come together, changes no bit of what is measured.
    """

    def __init__(self) -> None:
        """Starts without an image."""
        self._batches: list[tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32]]] = []

    def add(
        self,
        image_rows: NDArray[np.int64],
        class_ids: NDArray[np.int32],
        scores: NDArray[np.float32],
    ) -> None:
        """Adds B images; the arrays are kept, not copied, where they are contiguous.

        Args:
            image_rows: int64 [B], which images.
            class_ids: int32 [B, k], best first, equal scores by ascending class id.
            scores: float32 [B, k].

        Raises:
            EvaluationError: shapes or types do not fit, or another k than before. What is in the
                arrays is checked when they are measured.
        """
        shape = class_ids.shape
        if len(shape) != 2 or scores.shape != shape or image_rows.shape != shape[:1]:
            raise EvaluationError(
                f"rankings: expected image rows of shape [B], class ids and scores of shape "
                f"[B, k], received {list(image_rows.shape)}, {list(shape)}, {list(scores.shape)}"
            )
        types = [str(each.dtype) for each in (image_rows, class_ids, scores)]
        if types != ["int64", "int32", "float32"]:
            raise EvaluationError(
                "rankings: expected image rows, class ids and scores of types int64, int32 and "
                f"float32, received {', '.join(types)}"
            )
        self._append(image_rows, np.ascontiguousarray(class_ids), np.ascontiguousarray(scores))

    def _append(
        self,
        image_rows: NDArray[np.int64],
        class_ids: NDArray[np.int32],
        scores: NDArray[np.float32],
    ) -> None:
        width, before = class_ids.shape[1], self._batches[:1]
        if before and before[0][1].shape[1] != width:
            raise EvaluationError(
                f"rankings: expected {before[0][1].shape[1]} classes an image as before, "
                f"received {width}; cut all of them to one k"
            )
        self._batches.append((image_rows, class_ids, scores))

    def merge(self, other: Self) -> Self:
        """The images of both.

        Raises:
            EvaluationError: their k differ.
        """
        both = type(self)()
        for batch in self._batches + other._batches:
            both._append(*batch)
        return both

    def by_row(self, num_images: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Class ids and scores of the images 0 to num_images - 1, [num_images, k] each.

        Raises:
            EvaluationError: an image is missing, there twice, or none of these.
        """
        if not self._batches:
            self._refuse_unless_once(np.zeros(0, np.int64), num_images)
            return np.zeros((0, 0), np.int32), np.zeros((0, 0), np.float32)
        rows, class_ids, scores = (list(column) for column in zip(*self._batches, strict=True))
        places = rows[0] if len(rows) == 1 else np.concatenate(rows)
        self._refuse_unless_once(places, num_images)
        if len(rows) == 1 and (places == np.arange(num_images)).all():
            return class_ids[0], scores[0]
        shape = num_images, class_ids[0].shape[1]
        all_ids, all_scores = np.empty(shape, np.int32), np.empty(shape, np.float32)
        all_ids[places], all_scores[places] = np.concatenate(class_ids), np.concatenate(scores)
        return all_ids, all_scores

    @staticmethod
    def _refuse_unless_once(rows: NDArray[np.int64], num_images: int) -> None:
        outside = rows[(rows < 0) | (rows >= num_images)]
        if outside.size:
            raise EvaluationError(
                f"rankings: expected image rows in [0, {num_images}), received {outside[0]}"
            )
        seen = np.bincount(rows, minlength=num_images)
        wrong = np.flatnonzero(seen != 1)
        if wrong.size:
            raise EvaluationError(
                f"rankings: expected each of {num_images} images once, received none for "
                f"{np.count_nonzero(seen == 0)} and several for {np.count_nonzero(seen > 1)}, "
                f"e.g. {seen[wrong[0]]} for image row {wrong[0]}; predict again"
            )


@dataclass(frozen=True, eq=False)
class Measurement:
    """Everything that is said of one set of rankings."""

    scores: OverallScores
    counts: MeasuredCounts
    images: ImageScores
    positives: LabelScores
    classes: ClassScores


def measure(
    rankings: Rankings,
    judgements: Judgements,
    weights: NDArray[np.float64],
    precision_at: tuple[int, ...],
) -> Measurement:
    """Both forms of the metric, and what they are made of.

    Equal input gives equal bits, however the rankings were dealt and merged.

    Args:
        rankings: Of every image that `judgements` has.
        judgements: Labels of the images, and negatives where unknown classes are to be ignored.
        weights: float64 [C], finite, 0 or more; only their ratios matter to the scores.
        precision_at: Ranks n of precision@n.

    Raises:
        EvaluationError: the weights are not such, or `match` refuses the rankings.
    """
    check_weights(weights, judgements)
    positives = judgements.positives
    matched = match(*rankings.by_row(judgements.num_images), judgements)
    images, recall = _score_images(matched, positives, weights)
    labels = _score_labels(matched)
    classes = _score_classes(matched, labels, images, weights)
    labelled, weighty = images.labels > 0, images.label_weight > 0
    counts = MeasuredCounts(
        images=int(np.count_nonzero(labelled)),
        images_without_labels=int(np.count_nonzero(~labelled)),
        images_without_weight=int(np.count_nonzero(labelled & ~weighty)),
    )
    scores = OverallScores(
        weighted_map_image=_mean(images.weighted_average_precision[weighty]),
        weighted_map_class=float(classes.contribution.sum()),
        map_image=_mean(images.average_precision[labelled]),
        map_class=_mean(classes.average_precision[classes.positives > 0]),
        recall=_mean(recall[labelled]),
        precision={
            n: _ratio(_found_within(labels.rank, n), n * counts.images) for n in precision_at
        },
    )
    return Measurement(scores, counts, images, labels, classes)


def check_weights(weights: NDArray[np.float64], judgements: Judgements) -> None:
    """Refuses weights that are not one for each class, finite and 0 or more.

    Raises:
        EvaluationError: so they are; names the class.
    """
    if weights.shape != (judgements.num_classes,):
        raise EvaluationError(
            f"class weights: expected one for each of {judgements.num_classes} classes, received "
            f"{list(weights.shape)}"
        )
    wrong = np.flatnonzero(~(np.isfinite(weights) & (weights >= 0)))
    if wrong.size:
        raise EvaluationError(
            f"class weights: expected finite values of 0 or more, received {weights[wrong[0]]} "
            f"for class {wrong[0]}"
        )


def _score_images(
    matched: Match, positives: Positives, weights: NDArray[np.float64]
) -> tuple[ImageScores, NDArray[np.float64]]:
    """The scores of the images, and the recall of each."""
    labels = positives.counts
    label_weight, gain, weighted_gain, found = kernels.sum_by_image(
        positives.row_splits,
        positives.class_ids,
        matched.numbers,
        weights,
        matched.ranks,
        matched.gains,
    )
    images = ImageScores(
        labels=labels,
        label_weight=label_weight,
        average_precision=_ratios(gain, labels),
        weighted_average_precision=_ratios(weighted_gain, label_weight),
    )
    return images, _ratios(found.astype(np.float64), labels)


def _score_labels(matched: Match) -> LabelScores:
    num_labels, num_classes = len(matched.ranks), len(matched.hits)
    counts = np.diff(matched.label_starts)
    return LabelScores(
        class_ids=np.repeat(np.arange(num_classes, dtype=np.int32), counts),
        image_rows=matched.image_rows,
        rank=matched.ranks,
        gain=matched.gains,
        class_gain=class_rankings.class_gains(*matched.rankings, num_labels),
        score=matched.found_scores,
    )


def _score_classes(
    matched: Match, labels: LabelScores, images: ImageScores, weights: NDArray[np.float64]
) -> ClassScores:
    positives = np.diff(matched.label_starts)
    gain, share = kernels.sum_by_class(
        matched.label_starts, labels.image_rows, labels.class_gain, labels.gain, images.label_weight
    )
    precision = _ratios(gain, positives)
    present = np.where(positives > 0, weights, 0.0)
    return ClassScores(
        average_precision=precision,
        positives=positives,
        hits=matched.hits,
        contribution=_ratios(present * np.nan_to_num(precision), present.sum()),
        image_contribution=_ratios(weights * share, float(np.count_nonzero(images.label_weight))),
    )


def _ratios(totals: NDArray[np.float64], counts: NDArray | float) -> NDArray[np.float64]:
    """totals / counts, NaN where nothing is counted."""
    return np.divide(
        totals, counts, out=np.full_like(totals, np.nan), where=np.not_equal(counts, 0)
    )


def _mean(values: NDArray[np.float64]) -> float:
    return float(values.mean()) if values.size else float("nan")


def _found_within(ranks: NDArray[np.int32], rank: int) -> int:
    return int(np.count_nonzero((ranks > 0) & (ranks <= rank)))


def _ratio(total: float, count: float) -> float:
    return total / count if count else float("nan")
