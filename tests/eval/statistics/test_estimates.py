"""Standard errors and intervals by hand and against scipy."""

import numpy as np
import pytest
from scipy import stats

from manylabel.eval.errors import EvaluationError
from manylabel.eval.statistics.estimates import (
    Estimate,
    image_estimate,
    jackknife_estimate,
    two_sided_p,
)


def test_by_hand():
    """Groups {0.2, 0.4} and {0.9}; mean 0.5, u = -0.4 and 0.4, SE = sqrt(2 * 0.32) / 3; t of one
    degree of freedom (Cauchy's distribution) is tan(0.475 pi)."""
    estimate = image_estimate(np.array([0.2, 0.9, 0.4]), np.array([8, 3, 8]))
    assert estimate.value == pytest.approx(0.5)
    assert estimate.standard_error == pytest.approx(0.8 / 3)
    assert estimate.low == pytest.approx(0.5 - np.tan(0.475 * np.pi) * 0.8 / 3)
    assert estimate.high == pytest.approx(0.5 + np.tan(0.475 * np.pi) * 0.8 / 3)


def test_without_near_duplicates_it_is_the_standard_error_of_the_mean(random):
    values = random.random(500)
    estimate = image_estimate(values, random.permutation(500))
    assert estimate.standard_error == pytest.approx(stats.sem(values), rel=1e-12)
    assert estimate.value == values.mean()


def test_copies_of_every_image_add_nothing(random):
    values, groups = random.random(200), np.arange(200)
    once = image_estimate(values, groups)
    thrice = image_estimate(np.tile(values, 3), np.tile(groups, 3))
    assert thrice.standard_error == pytest.approx(once.standard_error, rel=1e-12)


def test_equals_a_bootstrap_of_whole_groups(random, near_duplicates, draw_scores):
    """scipy draws groups with replacement; the mean is that of the images drawn."""
    groups = near_duplicates(2_000)
    values = draw_scores(random, 2_000, 1)[0]
    _, place = np.unique(groups, return_inverse=True)
    sums, sizes = np.bincount(place, values), np.bincount(place)
    drawn = stats.bootstrap(
        (sums, sizes),
        lambda sums, sizes, axis=-1: sums.sum(axis) / sizes.sum(axis),
        paired=True,
        vectorized=True,
        n_resamples=2_000,
        method="percentile",
        rng=random,
    )
    estimate = image_estimate(values, groups)
    assert estimate.standard_error == pytest.approx(drawn.standard_error, rel=0.05)
    assert estimate.low == pytest.approx(drawn.confidence_interval.low, abs=0.001)
    assert estimate.high == pytest.approx(drawn.confidence_interval.high, abs=0.001)


def test_images_without_a_value_are_not_counted(random):
    values, groups = random.random(50), random.integers(0, 20, 50)
    more = np.concatenate([values, [np.nan, np.nan]])
    assert image_estimate(more, np.append(groups, [0, 99])) == image_estimate(values, groups)


@pytest.mark.parametrize(
    ("values", "groups", "value"),
    [([0.2, 0.4], [5, 5], 0.3), ([0.2], [5], 0.2), ([np.nan, 0.2], [1, 2], 0.2)],
)
def test_one_group_has_no_interval(values, groups, value):
    estimate = image_estimate(np.array(values), np.array(groups))
    assert estimate.value == pytest.approx(value)
    assert (estimate.standard_error, estimate.low, estimate.high) == (None, None, None)


@pytest.mark.parametrize("values", [[], [np.nan]])
def test_nothing_counted_is_no_number(values):
    estimate = image_estimate(np.array(values), np.arange(len(values)))
    assert np.isnan(estimate.value)
    assert estimate.standard_error is None


def test_values_and_groups_of_other_images_are_refused():
    with pytest.raises(EvaluationError, match="each of 3 images, received 2"):
        image_estimate(np.zeros(3), np.zeros(2, dtype=np.int64))


def test_jackknife_of_a_mean_is_the_standard_error_of_the_mean(random):
    values = random.random(30)
    without = (values.sum() - values) / 29
    estimate = jackknife_estimate(values.mean(), without)
    low, high = stats.t.interval(0.95, 29, values.mean(), stats.sem(values))
    assert estimate.standard_error == pytest.approx(stats.sem(values), rel=1e-9)
    assert (estimate.low, estimate.high) == pytest.approx((low, high), rel=1e-9)


@pytest.mark.parametrize("parts", [[], [0.4], [0.4, np.nan, 0.5]])
def test_without_two_parts_that_leave_something_there_is_no_interval(parts):
    assert jackknife_estimate(0.4, np.array(parts)) == Estimate(0.4, None, None, None)


def test_two_sided_p_is_that_of_students_test(random):
    values = random.normal(0.3, 1, 20)
    expected = stats.ttest_1samp(values, 0).pvalue
    assert two_sided_p(values.mean(), float(stats.sem(values)), 19) == pytest.approx(expected)
    assert two_sided_p(-values.mean(), float(stats.sem(values)), 19) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("value", "standard_error", "expected"),
    [(0.0, 0.0, 1.0), (0.0, 0.1, 1.0), (0.1, None, 1.0), (0.1, 0.0, 0.0)],
)
def test_two_sided_p_at_the_ends(value, standard_error, expected):
    assert two_sided_p(value, standard_error, 9) == expected
