"""Where the classifier's biases begin, so that training does not have to learn frequencies first.

At bias 0 every class begins at probability 1/2: with sigmoid the first loss is C ln 2, whatever the
images show, and the first updates do little but bring the biases down. The prior is the best answer
without looking at an image. With n_c training images that have class c and m_c that do not:

- sigmoid: log((n_c + 1/2) / (m_c + 1/2)), the class's log odds;
- softmax: log((n_c + 1/2) / sum_k(n_k + 1/2)), the log of its share of all labels.

The halves keep both finite for a class that no image has, or that every image has.
Images are counted, whatever the confidence of their label. Where unknown classes have no part in
the loss, m_c counts the images that are verified not to have the class.
"""

import numpy as np
from numpy.typing import NDArray

from manylabel.trainer.networks.head_config import HeadBias
from manylabel.trainer.networks.loss_config import LossKind


def initial_biases(
    start: HeadBias | float,
    kind: LossKind,
    present: NDArray[np.int64],
    absent: NDArray[np.int64],
) -> NDArray[np.float32]:
    """The classifier's first biases, float32 [C].

    Args:
        start: NetworkConfig.head_bias.
        present, absent: training images that have each class, and that do not, int64 [C].
    """
    if start is HeadBias.ZERO:
        biases = np.zeros(len(present))
    elif start is not HeadBias.PRIOR:
        biases = np.full(len(present), start)
    elif kind is LossKind.SOFTMAX:
        biases = np.log((present + 0.5) / (present + 0.5).sum())
    else:
        biases = np.log((present + 0.5) / (absent + 0.5))
    return biases.astype(np.float32)
