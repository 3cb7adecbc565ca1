"""Which predictions are labels of their image."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from manylabel.eval.errors import EvaluationError
from manylabel.eval.ranking import class_rankings, kernels
from manylabel.eval.ranking.judgements import Judgements


@dataclass(frozen=True, eq=False)
class Match:
    """Predictions and labels that found each other; N = I * k predictions, P labels.

    Labels are numbered by class and then by image row.

    Attributes:
        label_starts: int64 [C + 1]; class c has the labels label_starts[c] to
            label_starts[c + 1] - 1.
        numbers: int32 [P], of the labels as `Positives` has them, image after image.
        image_rows: int32 [P], of each label.
        ranks: int32 [P], place of the label among what is judged in its image, from 1; 0 when
            it is not found.
        gains: float64 [P], labels found up to there / rank; 0 when it is not found.
        found_scores: float32 [P], NaN when it is not found.
        rankings: Of the images by each class, as the functions of `class_rankings` take them:
            starts, ends, packed predictions (best first) and hits.
    """

    label_starts: NDArray[np.int64]
    numbers: NDArray[np.int32]
    image_rows: NDArray[np.int32]
    ranks: NDArray[np.int32]
    gains: NDArray[np.float64]
    found_scores: NDArray[np.float32]
    rankings: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.uint64], NDArray[np.int64]]

    @property
    def hits(self) -> NDArray[np.int64]:
        """Labels of each class that are found, int64 [C]."""
        return self.rankings[-1]


def match(
    class_ids: NDArray[np.int32], scores: NDArray[np.float32], judgements: Judgements
) -> Match:
    """Holds each image's ranking against its labels, and ranks the images by each class.

    Args:
        class_ids: int32 [I, k], best first, equal scores by ascending class id.
        scores: float32 [I, k].
        judgements: Of the same I images.

    Raises:
        EvaluationError: a class id outside the vocabulary or twice in an image, a score that is
            NaN, or an image's classes not in that order.
    """
    positives, negatives = judgements.positives, judgements.negatives
    refused = kernels.find_refused(class_ids, scores, positives.num_classes)
    if refused >= 0:
        row, column = divmod(refused, class_ids.shape[1])
        raise EvaluationError(
            f"ranking of image row {row}, place {column + 1}: "
            + _refusal(class_ids[row], scores[row], column, positives.num_classes)
        )
    of_labels = positives.row_splits, positives.class_ids
    label_starts, numbers, image_rows = kernels.number_labels(*of_labels, positives.num_classes)
    ranks, gains, found_scores, hits, starts, ends, packed = kernels.match_labels(
        class_ids,
        scores,
        *of_labels,
        label_starts,
        numbers,
        negatives.row_splits if negatives else np.zeros_like(positives.row_splits),
        negatives.class_ids if negatives else np.zeros(0, np.int32),
        negatives is not None,
    )
    class_rankings.sort_rankings(starts, ends, packed, hits)
    rankings = starts, ends, packed, hits
    return Match(label_starts, numbers, image_rows, ranks, gains, found_scores, rankings)


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
