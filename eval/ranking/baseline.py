"""What a model must beat: the same ranking for every image, most frequent class first."""

import numpy as np
from numpy.typing import NDArray

from manylabel.eval.ranking.judgements import Judgements
from manylabel.eval.ranking.measure import Measurement, Rankings, measure


def frequency_baseline(
    train_counts: NDArray[np.int64],
    k: int,
    judgements: Judgements,
    weights: NDArray[np.float64],
    precision_at: tuple[int, ...],
) -> Measurement:
    """Measures the k classes with most training images, ties by class id, for every image.

    All images have the same score for a class, so the class form is the expectation over every
    order of them.

    Args:
        train_counts: Training images by class, int64 [C].
        k: Predictions an image; all classes when there are fewer.
        judgements: As in `measure`.
        weights: As in `measure`.
        precision_at: As in `measure`.

    Raises:
        EvaluationError: as `measure`.
    """
    class_ids = np.argsort(-train_counts, kind="stable")[:k].astype(np.int32)
    scores = -np.arange(len(class_ids), dtype=np.float32)  # Only their order matters.
    shape = judgements.num_images, len(class_ids)
    rankings = Rankings()
    rankings.add(
        np.arange(judgements.num_images),
        np.broadcast_to(class_ids, shape),
        np.broadcast_to(scores, shape),
    )
    return measure(rankings, judgements, weights, precision_at)
