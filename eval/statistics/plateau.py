"""Which checkpoints of many cannot be told from the best one observed.

The best of 200 that hardly differ is best by luck. All those whose paired difference from it is not
shown, after Holm's correction for having looked at all, are as good a choice (multiple comparisons
with the best: Hsu, 1981). Of a plateau, the truly best is among them at least 95 times in 100.
"""

import numpy as np
from numpy.typing import NDArray

from manylabel.eval.errors import EvaluationError
from manylabel.eval.statistics.differences import holm
from manylabel.eval.statistics.estimates import (
    GroupSums,
    jackknife_standard_error,
    two_sided_p,
)

LEVEL = 0.05


def undistinguished_images(
    values: NDArray[np.floating], groups: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """By the image form: bool [S], the best observed (the first of them) included.

    Args:
        values: float [S, I], of S evaluations on the same I images; NaN is not counted.
        groups: int64 [I], the near-duplicate group of each image.

    Raises:
        EvaluationError: The evaluations do not count the same images.
    """
    counted = ~np.isnan(values)
    if (counted != counted[:1]).any():
        raise EvaluationError(
            "expected evaluations that count the same images, received some that count others; "
            "compare evaluations of the same held-out labels and weights"
        )
    means = np.array([row[kept].mean() for row, kept in zip(values, counted, strict=True)])
    if not len(means) or np.isnan(means).any():
        return np.ones(len(means), dtype=bool)
    best = int(means.argmax())
    p_values = np.ones(len(means))
    for place, row in enumerate(values):
        differences = GroupSums.of((row - values[best]).astype(np.float64), groups)
        p_values[place] = two_sided_p(
            differences.mean, differences.standard_error, len(differences.sums) - 1
        )
    return _not_shown(p_values, best)


def undistinguished_parts(
    values: NDArray[np.float64], parts: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """By the class form: bool [S], the best observed (the first of them) included.

    Args:
        values: float64 [S], of S evaluations on the same images.
        parts: float64 [S, P], their values without each part.
    """
    if not len(values) or np.isnan(values).any():
        return np.ones(len(values), dtype=bool)
    best = int(values.argmax())
    degrees = parts.shape[1] - 1
    p_values = np.array(
        [
            two_sided_p(value - values[best], jackknife_standard_error(row - parts[best]), degrees)
            for value, row in zip(values, parts, strict=True)
        ]
    )
    return _not_shown(p_values, best)


def _not_shown(p_values: NDArray[np.float64], best: int) -> NDArray[np.bool_]:
    others = np.arange(len(p_values)) != best
    not_shown = np.ones(len(p_values), dtype=bool)
    not_shown[others] = holm(p_values[others]) > LEVEL
    return not_shown
