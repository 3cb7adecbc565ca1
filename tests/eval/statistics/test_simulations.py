"""Simulated held-out sets: intervals cover, tests err as often as they say and find what is there.

Figures in the docstrings are those of the recorded run; the seed was fixed before it (conftest.py).
"""

import numpy as np
import pytest

from manylabel.eval.statistics.differences import Verdict, image_difference, verdict
from manylabel.eval.statistics.estimates import image_estimate
from manylabel.eval.statistics.plateau import undistinguished_images, undistinguished_parts

pytestmark = pytest.mark.slow

TRUE_MEAN = 0.25  # of draw_scores


def covers(estimate):
    return estimate.low <= TRUE_MEAN <= estimate.high


def test_image_interval_covers_the_true_mean(random, near_duplicates, draw_scores):
    """1,000 held-out sets of 1,000 images: 95.2%; ignoring near-duplicates 88.5%."""
    groups = near_duplicates(1_000)
    covered, ignoring = [], []
    for _ in range(1_000):
        values = draw_scores(random, 1_000, 1)[0]
        covered.append(covers(image_estimate(values, groups)))
        ignoring.append(covers(image_estimate(values, np.arange(1_000))))
    print("image interval covers", np.mean(covered), "ignoring groups", np.mean(ignoring))
    assert 0.93 <= np.mean(covered) <= 0.97
    assert np.mean(ignoring) < 0.91


def test_paired_test_rejects_a_planted_0_as_often_as_it_says(random, near_duplicates, draw_scores):
    """2,000 pairs of equally good models on 1,000 images: 5.7% by p-value, 5.9% by verdict."""
    groups = near_duplicates(1_000)
    found = []
    for trial in range(2_000):
        a, b = draw_scores(random, 1_000, 2)
        found.append(image_difference(a, b, groups, flips=1_000, seed=trial))
    rejected = np.mean([difference.p_value <= 0.05 for difference in found])
    shown = np.mean([verdict(difference) is not Verdict.NOT_SHOWN for difference in found])
    print("null rejected by p", rejected, "by verdict", shown)
    assert 0.035 <= rejected <= 0.065
    assert 0.035 <= shown <= 0.065


def test_paired_test_finds_a_planted_2_percent(random, near_duplicates, draw_scores):
    """0.255 against 0.25 on 14,000 images, the paper's number: 88% of 300 trials, a third of which
    are made here."""
    groups = near_duplicates(14_000)
    better, significant = [], []
    for trial in range(100):
        a, b = draw_scores(random, 14_000, 2)
        difference = image_difference(1.02 * a, b, groups, flips=1_000, seed=trial)
        better.append(verdict(difference) is Verdict.BETTER)
        significant.append(difference.p_value <= 0.05)
    print("2% found by verdict", np.mean(better), "by p", np.mean(significant))
    assert np.mean(better) > 0.85
    assert np.mean(significant) > 0.85


def test_undistinguished_set_holds_the_true_best(random, near_duplicates, draw_scores):
    """Runs of 200 checkpoints that rise to a plateau; the last is truly the best, by little.

    Of 300 runs 99.3% in both forms, though in 99% another is the best observed; 153 and 155 of 200
    are kept. A third of them are made here.
    """
    images, checkpoints = 600, 200
    groups = near_duplicates(images)
    rise = 1 - np.exp(-np.arange(checkpoints) / 15)
    _, place = np.unique(groups, return_inverse=True)
    parts = place % 50
    outside = (parts[:, np.newaxis] != np.arange(50)).astype(np.float64)
    outside /= outside.sum(axis=0)
    holds, sizes, best_is_another, early = [], [], [], []
    for _ in range(100):
        values = draw_scores(random, images, checkpoints) * rise[:, np.newaxis]
        by_image = undistinguished_images(values, groups)
        by_parts = undistinguished_parts(values.mean(axis=1), values @ outside)
        holds.append((by_image[-1], by_parts[-1]))
        sizes.append((by_image.sum(), by_parts.sum()))
        early.append((by_image[:15].any(), by_parts[:15].any()))
        best_is_another.append(values.mean(axis=1).argmax() != checkpoints - 1)
    print("holds the best", np.mean(holds, axis=0), "of 200", np.mean(sizes, axis=0))
    print("best observed is another", np.mean(best_is_another), "early", np.mean(early, axis=0))
    assert (np.mean(holds, axis=0) >= 0.95).all()
    assert np.mean(best_is_another) > 0.9
    assert (np.mean(sizes, axis=0) < 190).all()
    assert not np.any(early)
