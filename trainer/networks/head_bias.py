"""Where the classifier's biases begin, so that training does not have to learn frequencies first.

At bias 0 every class begins at probability 1/2: with sigmoid the first loss is C ln 2, whatever the
images show, and the first updates do little but bring the biases down. The prior is the best answer
without looking at an image. With n_c of N training images having class c:

- sigmoid: log((n_c + 1/2) / (N - n_c + 1/2)), the class's log odds;
- softmax: log((n_c + 1/2) / sum_k(n_k + 1/2)), the log of its share of all labels.

The halves keep both finite for a class that no image has, or that every image has.
Images are counted, whatever the confidence of their label.
"""

import numpy as np
from numpy.typing import NDArray

from manylabel.trainer.networks.config import HeadBias
from manylabel.trainer.networks.loss_config import LossKind


def initial_biases(
    start: HeadBias | float, kind: LossKind, train_counts: NDArray[np.int64], images: int
) -> NDArray[np.float32]:
    """The classifier's first biases, float32 [C].

    Args:
        start: ModelConfig.head_bias.
        train_counts: training images that have each class, int64 [C], each in [0, images].
        images: N, all training images.
    """
    if start is HeadBias.ZERO:
        biases = np.zeros(len(train_counts))
    elif start is not HeadBias.PRIOR:
        biases = np.full(len(train_counts), start)
    elif kind is LossKind.SOFTMAX:
        biases = np.log((train_counts + 0.5) / (train_counts + 0.5).sum())
    else:
        biases = np.log((train_counts + 0.5) / (images - train_counts + 0.5))
    return biases.astype(np.float32)
