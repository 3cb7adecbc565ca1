"""What a model must beat: the same ranking for every image, most frequent class first."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from manylabel.eval.store.predictions import PredictionBatch


def frequency_predictions(
    image_ids: Sequence[str], train_counts: NDArray[np.int64], k: int, batch_size: int
) -> Iterator[PredictionBatch]:
    """Predicts for every image the k classes with most training images, ties by class id.

    Args:
        image_ids: The images to predict.
        train_counts: Training images by class, int64 [C].
        k: Predictions an image; all classes when there are fewer.
        batch_size: Images at a time.

    Yields:
        Batches whose scores are the classes' shares of all training labels.
    """
    class_ids = np.argsort(-train_counts, kind="stable")[:k].astype(np.int32)
    scores = (train_counts[class_ids] / max(int(train_counts.sum()), 1)).astype(np.float32)
    for start in range(0, len(image_ids), batch_size):
        batch = image_ids[start : start + batch_size]
        shape = (len(batch), len(class_ids))
        yield PredictionBatch(
            batch, np.broadcast_to(class_ids, shape), np.broadcast_to(scores, shape)
        )
