"""Which predictions are labels of their image."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from manylabel.eval.errors import EvaluationError
from manylabel.eval.ranking import kernels
from manylabel.eval.ranking.judgements import Judgements


@dataclass(frozen=True, eq=False)
class Match:
    """Predictions and labels that found each other; N = I * k predictions, P labels.

    Attributes:
        k: Predictions of an image.
        class_ids: int32 [N], image after image.
        scores: float32 [N].
        labels: int32 [N], the number of the label that a prediction is, or `kernels.WRONG` or
            `kernels.UNJUDGED`.
        ranks: int32 [P], place of the label among what is judged in its image, from 1; 0 when
            it is not found.
        gains: float64 [P], labels found up to there / rank; 0 when it is not found.
        found_scores: float32 [P], NaN when it is not found.
    """

    k: int
    class_ids: NDArray[np.int32]
    scores: NDArray[np.float32]
    labels: NDArray[np.int32]
    ranks: NDArray[np.int32]
    gains: NDArray[np.float64]
    found_scores: NDArray[np.float32]

    def rank_images(self, judgements: Judgements) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Rankings of the images by class, best first: starts [C + 1] and places in [0, N).

        Classes without a hit are left out: their average precision is 0 in any order.
        """
        found = judgements.positives.class_ids[self.ranks > 0]
        ranked = np.bincount(found, minlength=judgements.num_classes) > 0
        starts, order = kernels.rank_images(self.class_ids, self.scores, self.labels, ranked)
        return starts, order


def match(
    class_ids: NDArray[np.int32], scores: NDArray[np.float32], judgements: Judgements
) -> Match:
    """Holds each image's ranking against its labels.

    Args:
        class_ids: int32 [I, k], best first, equal scores by ascending class id.
        scores: float32 [I, k].
        judgements: Of the same I images.

    Raises:
        EvaluationError: a class id outside the vocabulary or twice in an image, a score that is
            NaN, or an image's classes not in that order.
    """
    positives, negatives = judgements.positives, judgements.negatives
    refused, labels, ranks, gains, found_scores = kernels.match_labels(
        class_ids,
        scores,
        positives.row_splits,
        positives.class_ids,
        negatives.row_splits if negatives else np.zeros_like(positives.row_splits),
        negatives.class_ids if negatives else np.zeros(0, np.int32),
        kernels.UNJUDGED if negatives else kernels.WRONG,
        positives.num_classes,
    )
    if refused >= 0:
        row, column = divmod(refused, class_ids.shape[1])
        raise EvaluationError(
            f"ranking of image row {row}, place {column + 1}: "
            + _refusal(class_ids[row], scores[row], column, positives.num_classes)
        )
    flat = class_ids.ravel(), scores.ravel(), labels.ravel()
    return Match(class_ids.shape[1], *flat, ranks, gains, found_scores)


def _refusal(
    class_ids: NDArray[np.int32], scores: NDArray[np.float32], column: int, num_classes: int
) -> str:
    class_id, score = class_ids[column], scores[column]
    if not 0 <= class_id < num_classes:
        return f"expected class ids in [0, {num_classes}), received {class_id}"
    if np.isnan(score):
        return "expected a score, received NaN"
    if class_id in class_ids[:column]:
        return f"expected each class once, received {class_id} again"
    return (
        "expected the best score first and equal scores by class id, received class "
        f"{class_id} of score {score} after class {class_ids[column - 1]} of score "
        f"{scores[column - 1]}"
    )
