"""Paired differences, candidate minus reference, on the same held-out images."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from manylabel.eval.errors import EvaluationError
from manylabel.eval.statistics.estimates import (
    Estimate,
    GroupSums,
    interval,
    jackknife_standard_error,
    student_95,
    two_sided_p,
)
from manylabel.eval.statistics.sign_flips import flip_p


@dataclass(frozen=True)
class Difference(Estimate):
    """A difference with its 95% interval.

    Attributes:
        p_value: Two-sided, of no difference; 1.0 where it cannot be tested, and for identical
            inputs.
    """

    p_value: float


class Verdict(StrEnum):
    """What a difference shows of the candidate, given the margin that matters."""

    BETTER = "better"
    WORSE = "worse"
    EQUAL = "equal"
    NOT_SHOWN = "not_shown"


def verdict(difference: Difference, margin: float = 0.0) -> Verdict:
    """Reads the interval.

    BETTER: above the margin. WORSE: below minus the margin. EQUAL: within both (a margin of 0 shows
    nothing to be equal). NOT_SHOWN: anything else, and without an interval.

    Raises:
        EvaluationError: The margin is negative or no number.
    """
    if not margin >= 0:
        raise EvaluationError(f"expected a margin of 0 or more, received {margin}; raise it")
    low, high = difference.low, difference.high
    if low is None or high is None:
        return Verdict.NOT_SHOWN
    if low > margin:
        return Verdict.BETTER
    if high < -margin:
        return Verdict.WORSE
    if margin > 0 and -margin <= low and high <= margin:
        return Verdict.EQUAL
    return Verdict.NOT_SHOWN


def image_difference(
    a: NDArray[np.float64],
    b: NDArray[np.float64],
    groups: NDArray[np.int64],
    flips: int = 10_000,
    seed: int = 0,
) -> Difference:
    """Mean of a - b over images; the p-value swaps a and b at random, group by group.

    Args:
        a: The candidate's values, float64 [I]; NaN is not counted.
        b: The reference's, of the same images.
        groups: int64 [I], the near-duplicate group of each image.
        flips: Random swaps; few groups are swapped in every way instead (`flip_p`).
        seed: Of the swaps.

    Raises:
        EvaluationError: The values are not of the same images, or not of the same counted ones.
    """
    if a.shape != b.shape:
        raise EvaluationError(
            f"expected values of the same images, received {len(a)} of the candidate and {len(b)} "
            "of the reference; compare evaluations of one held-out set"
        )
    uncounted = np.isnan(a) != np.isnan(b)
    if uncounted.any():
        raise EvaluationError(
            f"expected values of the same images, received {np.count_nonzero(uncounted)} images "
            "that only one side counts; compare evaluations of the same held-out labels and weights"
        )
    return group_difference(GroupSums.of(a - b, groups), flips, seed)


def group_difference(differences: GroupSums, flips: int, seed: int) -> Difference:
    """The mean of differences that are added up by group."""
    quantile = student_95(len(differences.sums) - 1)
    bounds = interval(differences.mean, differences.standard_error, quantile)
    return _tested(bounds, flip_p(differences.sums, flips, seed))


def part_difference(
    a_value: float,
    b_value: float,
    a_parts: NDArray[np.float64],
    b_parts: NDArray[np.float64],
) -> Difference:
    """a_value - b_value; interval and p-value by Student's t over the delete-one-part values.

    Args:
        a_value: The candidate's value of all images.
        b_value: The reference's.
        a_parts: float64 [P], the candidate's values without each part of the images.
        b_parts: The reference's, without the same parts.

    Raises:
        EvaluationError: The two sides have different numbers of parts.
    """
    if a_parts.shape != b_parts.shape:
        raise EvaluationError(
            f"expected the same parts of the held-out images, received {len(a_parts)} of the "
            f"candidate and {len(b_parts)} of the reference; compare evaluations of one held-out "
            "set"
        )
    degrees = len(a_parts) - 1
    value = a_value - b_value
    standard_error = jackknife_standard_error(a_parts - b_parts)
    bounds = interval(value, standard_error, student_95(degrees))
    return _tested(bounds, two_sided_p(value, standard_error, degrees))


def holm(p_values: NDArray[np.float64]) -> NDArray[np.float64]:
    """P-values of a family, float64 [N], adjusted so that any of them errs with 5% at 0.05.

    Holm, A simple sequentially rejective multiple test procedure, 1979.
    """
    order = np.argsort(p_values)
    factors = np.arange(len(p_values), 0, -1)
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum(1, np.maximum.accumulate(factors * p_values[order]))
    return adjusted


def _tested(bounds: Estimate, p_value: float) -> Difference:
    return Difference(bounds.value, bounds.standard_error, bounds.low, bounds.high, p_value)
