"""Paired differences and their verdicts."""

import numpy as np
import pytest
from scipy import stats

from manylabel.eval.errors import EvaluationError
from manylabel.eval.statistics.differences import (
    Difference,
    Verdict,
    holm,
    image_difference,
    part_difference,
    verdict,
)
from manylabel.eval.statistics.estimates import image_estimate


def negated(difference):
    return Difference(
        -difference.value,
        difference.standard_error,
        -difference.high,
        -difference.low,
        difference.p_value,
    )


def test_images_are_paired(random, near_duplicates, draw_scores):
    groups = near_duplicates(3_000)
    a, b = draw_scores(random, 3_000, 2)
    difference = image_difference(a, b, groups)
    paired = image_estimate(a - b, groups)
    assert difference.value == pytest.approx(a.mean() - b.mean(), abs=1e-15)
    assert (difference.standard_error, difference.low, difference.high) == (
        paired.standard_error,
        paired.low,
        paired.high,
    )


def test_p_of_singletons_agrees_with_scipy(random):
    a, b = random.random(60), random.random(60)
    for shift in (0.0, 0.05, 0.1):
        expected = stats.ttest_rel(a + shift, b).pvalue
        found = image_difference(a + shift, b, np.arange(60))
        assert found.p_value == pytest.approx(expected, abs=0.02)


def test_p_flips_whole_groups():
    """Five groups of alike images: 2 of 32 signs reach the sum, however many images they have."""
    a, groups = np.full(500, 0.1), np.arange(500) % 5
    assert image_difference(a, np.zeros(500), groups).p_value == 2 / 32


def test_p_weighs_a_group_by_its_images():
    """Sums 3, -1 and -1.5: no signs give less than their 0.5. Of means, 1, -1 and -1.5, two do."""
    a, groups = np.array([1.0, 1.0, 1.0, -1.0, -1.5]), np.array([0, 0, 0, 1, 2])
    assert image_difference(a, np.zeros(5), groups).p_value == 1.0


def test_a_checkpoint_against_itself_is_exactly_0(random, near_duplicates):
    values, groups = random.random(1_000), near_duplicates(1_000)
    values[::7] = np.nan
    itself = image_difference(values, values.copy(), groups)
    assert itself == Difference(0.0, 0.0, 0.0, 0.0, 1.0)
    parts = random.random(100)
    assert part_difference(0.3, 0.3, parts, parts.copy()) == itself
    assert verdict(itself) is Verdict.NOT_SHOWN
    assert verdict(itself, margin=0.001) is Verdict.EQUAL


@pytest.mark.parametrize("images", [15, 400])
def test_swapping_flips_signs_exactly(random, near_duplicates, images):
    groups = near_duplicates(images)
    a, b = random.random(images), random.random(images)
    forth, back = image_difference(a, b, groups), image_difference(b, a, groups)
    assert back == negated(forth)


def test_swapping_flips_signs_exactly_in_the_class_form(random):
    a, b = random.random(100), random.random(100)
    assert part_difference(0.31, 0.3, a, b) == negated(part_difference(0.3, 0.31, b, a))


def test_images_that_neither_counts_are_left_out(random):
    a, b, groups = random.random(100), random.random(100), np.arange(100) // 3
    kept = np.arange(100) % 4 > 0
    a[~kept] = b[~kept] = np.nan
    assert image_difference(a, b, groups) == image_difference(a[kept], b[kept], groups[kept])


def test_images_that_one_side_counts_are_refused():
    with pytest.raises(EvaluationError, match="2 images that only one side counts"):
        image_difference(np.array([0.1, np.nan, 0.2]), np.array([np.nan, 0.1, 0.2]), np.arange(3))
    with pytest.raises(EvaluationError, match="received 3 of the candidate and 2 of the reference"):
        image_difference(np.zeros(3), np.zeros(2), np.arange(3))


def test_one_group_shows_nothing():
    difference = image_difference(np.array([0.4, 0.5]), np.zeros(2), np.array([1, 1]))
    assert difference == Difference(0.45, None, None, None, 1.0)
    assert verdict(difference, margin=1.0) is Verdict.NOT_SHOWN


def test_parts_of_a_mean_agree_with_the_paired_t_test(random):
    """Without part p the mean is (sum - x_p) / 24: the jackknife's error is the mean's own."""
    a, b = random.normal(0.3, 1, 25), random.normal(0, 1, 25)
    difference = part_difference(a.mean(), b.mean(), (a.sum() - a) / 24, (b.sum() - b) / 24)
    theirs = stats.ttest_rel(a, b)
    bounds = theirs.confidence_interval(0.95)
    assert difference.p_value == pytest.approx(theirs.pvalue, rel=1e-9)
    assert (difference.low, difference.high) == pytest.approx(tuple(bounds), rel=1e-9)


def test_other_parts_are_refused():
    with pytest.raises(EvaluationError, match="received 100 of the candidate and 99"):
        part_difference(0.3, 0.3, np.zeros(100), np.zeros(99))


@pytest.mark.parametrize(
    ("low", "high", "margin", "expected"),
    [
        (0.001, 0.003, 0.0, Verdict.BETTER),
        (0.0, 0.003, 0.0, Verdict.NOT_SHOWN),
        (-0.003, -0.001, 0.0, Verdict.WORSE),
        (-0.003, 0.0, 0.0, Verdict.NOT_SHOWN),
        (0.0, 0.0, 0.0, Verdict.NOT_SHOWN),
        (0.001, 0.003, 0.0005, Verdict.BETTER),
        (0.001, 0.003, 0.001, Verdict.NOT_SHOWN),
        (-0.003, -0.001, 0.001, Verdict.NOT_SHOWN),
        (-0.003, -0.0011, 0.001, Verdict.WORSE),
        (-0.002, 0.002, 0.002, Verdict.EQUAL),
        (-0.0021, 0.002, 0.002, Verdict.NOT_SHOWN),
        (-0.002, 0.0021, 0.002, Verdict.NOT_SHOWN),
        (0.001, 0.0015, 0.002, Verdict.EQUAL),
        (None, None, 0.002, Verdict.NOT_SHOWN),
    ],
)
def test_verdict(low, high, margin, expected):
    assert verdict(Difference(0.0, 0.001, low, high, 0.5), margin) is expected


@pytest.mark.parametrize("margin", [-0.001, float("nan")])
def test_a_margin_below_0_is_refused(margin):
    with pytest.raises(EvaluationError, match="margin of 0 or more"):
        verdict(Difference(0.0, 0.0, 0.0, 0.0, 1.0), margin)


def test_holm_by_hand():
    """Sorted .01 .02 .03 .04 times 4 3 2 1: .04 .06 .06 .04, and never falling: .04 .06 .06 .06."""
    adjusted = holm(np.array([0.04, 0.01, 0.03, 0.02]))
    assert adjusted == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm(np.array([0.6, 0.7])) == pytest.approx([1.0, 1.0])
    assert holm(np.array([])).shape == (0,)


def test_holm_rejects_what_the_step_down_procedure_rejects(random):
    """The smallest of m at level / m, the next at level / (m - 1), and so on until one fails."""
    for _ in range(200):
        p = random.random(8) ** 4
        rejected, left = set(), sorted(range(8), key=lambda place: p[place])
        while left and p[left[0]] <= 0.05 / len(left):
            rejected.add(left.pop(0))
        assert set(np.flatnonzero(holm(p) <= 0.05)) == rejected
