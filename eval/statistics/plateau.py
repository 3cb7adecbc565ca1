"""Which checkpoints of many cannot be told from the best one observed.

The best of 200 that hardly differ is best by luck. All those whose paired difference from it is not
shown, after Holm's correction for having looked at all, are as good a choice (multiple comparisons
with the best: Hsu, Annals of Statistics, 1981).
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
    """By the image form: bool [S], the best observed (the first, where several are) included.

    P-values are of Student's t test over groups, which is the interval's; random flips could not
    tell those that 200 comparisons need.

    Args:
        values: float [S, I], of S evaluations on the same I images; NaN is not counted.
        groups: int64 [I], the near-duplicate group of each image.

    Raises:
        EvaluationError: The evaluations do not count the same images.
    """
    counted = ~np.isnan(values[:1]).all(axis=0)
    if (np.isnan(values) == counted).any():
        raise EvaluationError(
            "expected evaluations that count the same images, received some that count others; "
            "compare evaluations of the same held-out labels and weights"
        )
    if not len(values) or not counted.any():
        return np.ones(len(values), dtype=bool)
    _, places = np.unique(groups[counted], return_inverse=True)
    means = values[:, counted].mean(axis=1, dtype=np.float64)
    best = int(means.argmax())
    reference = values[best, counted].astype(np.float64)
    p_values = np.ones(len(values))
    for place, row in enumerate(values):
        differences = GroupSums.at(row[counted] - reference, places)
        degrees = len(differences.sums) - 1
        p_values[place] = two_sided_p(differences.mean, differences.standard_error, degrees)
    return _not_shown(p_values, best)


def undistinguished_parts(
    values: NDArray[np.float64], parts: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """By the class form: bool [S], the best observed (the first, where several are) included.

    Args:
        values: float64 [S], of S evaluations on the same images.
        parts: float64 [S, P], their values without each part of the images.

    Raises:
        EvaluationError: Values and parts are not of as many evaluations.
    """
    if len(values) != len(parts):
        raise EvaluationError(
            f"expected the parts of {len(values)} evaluations, received those of {len(parts)}; "
            "evaluate again those without"
        )
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
