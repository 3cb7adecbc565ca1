"""A number and how far it can be trusted: standard errors and 95% intervals.

All of them are over held-out images: another sample of images of the same kind. They say nothing of
another training run with another seed.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

from manylabel.eval.errors import EvaluationError


@dataclass(frozen=True)
class Estimate:
    """A value with its 95% interval, both ends included.

    Attributes:
        value: NaN where nothing was counted.
        standard_error: None, as are both ends, where it cannot be known: fewer than two
            near-duplicate groups, or parts.
    """

    value: float
    standard_error: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, eq=False)
class GroupSums:
    """Values of images, added up within near-duplicate groups: the units that are independent.

    Attributes:
        mean: Of the counted images; NaN without any.
        images: How many were counted.
        sums: float64 [G], of the G groups with counted images, by ascending group.
        sizes: Counted images of each group, int64 [G].
    """

    mean: float
    images: int
    sums: NDArray[np.float64]
    sizes: NDArray[np.int64]

    @classmethod
    def of(cls, values: NDArray[np.float64], groups: NDArray[np.int64]) -> "GroupSums":
        """Sums the values [I] that are not NaN by their groups [I].

        Raises:
            EvaluationError: Values and groups are not of the same images.
        """
        if values.shape != groups.shape:
            raise EvaluationError(
                f"expected a near-duplicate group for each of {len(values)} images, received "
                f"{len(groups)}; pass both of the same images"
            )
        counted = ~np.isnan(values)
        _, places = np.unique(groups[counted], return_inverse=True)
        return cls.at(values[counted], places)

    @classmethod
    def at(cls, values: NDArray[np.float64], places: NDArray[np.int64]) -> "GroupSums":
        """Sums values [I], none of them NaN, by groups that are numbered from 0 without gaps."""
        return cls(
            mean=float(values.mean()) if len(values) else float("nan"),
            images=len(values),
            sums=np.asarray(np.bincount(places, values), dtype=np.float64),
            sizes=np.bincount(places),
        )

    @property
    def standard_error(self) -> float | None:
        """Of the mean: sqrt(G / (G - 1) * sum of u_g^2) / I, u_g = sum over g of (x_i - mean).

        The linearised variance of a ratio of sums over clusters (Cochran, Sampling Techniques,
        1977, 11.8), without a correction for a finite population. None for fewer than two groups.
        """
        count = len(self.sums)
        if count < 2:
            return None
        deviations = self.sums - self.mean * self.sizes
        return float(np.sqrt(count / (count - 1) * np.square(deviations).sum()) / self.images)


def image_estimate(values: NDArray[np.float64], groups: NDArray[np.int64]) -> Estimate:
    """Mean over images, with images of one near-duplicate group counting as one observation.

    With Student's t of G - 1 degrees for G groups: of 10 groups the normal distribution's interval
    covers 92%, of thousands the two are one.

    Args:
        values: float64 [I]; NaN is not counted.
        groups: int64 [I], the near-duplicate group of each image; any numbers.

    Raises:
        EvaluationError: Values and groups are not of the same images.
    """
    grouped = GroupSums.of(values, groups)
    return interval(grouped.mean, grouped.standard_error, student_95(len(grouped.sums) - 1))


def jackknife_estimate(value: float, leave_one_out: NDArray[np.float64]) -> Estimate:
    """A value of all images, with the interval that its delete-one-part values give.

    Args:
        value: Of all images.
        leave_one_out: float64 [P], the value without each part.
    """
    return interval(
        value, jackknife_standard_error(leave_one_out), student_95(len(leave_one_out) - 1)
    )


def jackknife_standard_error(leave_one_out: NDArray[np.float64]) -> float | None:
    """sqrt((P - 1) / P * sum of (theta_p - mean)^2).

    None for fewer than two parts, and where nothing is left without one of them (NaN).

    Efron and Stein, The jackknife estimate of variance, 1981. Parts, rather than single images,
    because the class form is no mean of images and is computed anew without each of them.
    """
    count = len(leave_one_out)
    if count < 2 or np.isnan(leave_one_out).any():
        return None
    deviations = leave_one_out - leave_one_out.mean()
    return float(np.sqrt((count - 1) / count * np.square(deviations).sum()))


def student_95(degrees: int) -> float:
    """The 97.5% quantile of Student's t; NaN without degrees of freedom."""
    return float(stdtrit(degrees, 0.975)) if degrees > 0 else float("nan")


def two_sided_p(value: float, standard_error: float | None, degrees: int) -> float:
    """Of Student's t test against 0; 1.0 where there is no standard error."""
    if value == 0 or standard_error is None:
        return 1.0
    if standard_error == 0:
        return 0.0
    return float(2 * stdtr(degrees, -abs(value) / standard_error))


def interval(value: float, standard_error: float | None, quantile: float) -> Estimate:
    """value - quantile * standard_error to value + quantile * standard_error."""
    if standard_error is None:
        return Estimate(value, None, None, None)
    reach = quantile * standard_error
    return Estimate(value, standard_error, value - reach, value + reach)
