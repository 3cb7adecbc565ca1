"""The class form's interval over simulated held-out sets: scores, labels, rankings, parts."""

import numpy as np
import pytest

from manylabel.eval.ranking.judgements import Judgements, Positives
from manylabel.eval.ranking.measure import Rankings, measure
from manylabel.eval.ranking.parts import leave_one_part_out, part_of
from manylabel.eval.statistics.differences import Verdict, part_difference, verdict
from manylabel.eval.statistics.estimates import jackknife_estimate
from manylabel.eval.statistics.plateau import undistinguished_parts

pytestmark = pytest.mark.slow

IMAGES, CLASSES, K = 1_000, 100, 20
SETS = 500


class Population:
    """Labels by frequency as 1 / (rank + 3), six an image; near-duplicates share labels and looks.

    A model scores a class by what the image shows, which all models see, its own errors, and how
    common the class is.
    """

    def __init__(self, groups):
        frequency = 1 / (np.arange(CLASSES) + 3.0)
        self.frequency = 6 * frequency / frequency.sum()
        self.weights = frequency / frequency.sum()
        self.groups = groups
        _, self.place = np.unique(groups, return_inverse=True)

    def draw(self, random, models):
        """Labels, bool [I, C], and the scores of each model, float32 [I, C]."""
        shape = self.place.max() + 1, CLASSES
        has = random.random(shape) < self.frequency
        shown = random.standard_normal(shape, np.float32) + np.float32(2) * has
        shown += (0.7 * np.log(self.frequency)).astype(np.float32)
        scores = []
        for _ in range(models):
            seen = (shown + 0.6 * random.standard_normal(shape, np.float32))[self.place]
            seen += 0.1 * random.standard_normal(seen.shape, np.float32)
            scores.append(seen.astype(np.float32))
        return has[self.place], scores

    def evaluate(self, has, scores):
        """The class form of the K best classes, and its values without each part, [P]."""
        best = np.argsort(-scores, axis=1, kind="stable")[:, :K]
        rankings = Rankings()
        rankings.add(
            np.arange(IMAGES), best.astype(np.int32), np.take_along_axis(scores, best, axis=1)
        )
        splits = np.concatenate([[0], np.cumsum(has.sum(axis=1))])
        labels = Positives(splits, np.nonzero(has)[1].astype(np.int32), CLASSES)
        judgements = Judgements(labels, None)
        value = measure(rankings, judgements, self.weights, (1,)).scores.weighted_map_class
        one_band = np.zeros(CLASSES, dtype=np.int64)
        parts = leave_one_part_out(
            rankings, judgements, self.weights, part_of(self.groups), one_band, 1
        )
        return value, parts.weighted_map_class


def covers(estimate, target):
    return estimate.low <= target <= estimate.high


def test_class_interval_covers_and_its_difference_errs_as_often_as_it_says(random, near_duplicates):
    """500 sets of 1,000 images, two equally good models: 95.0%, and 4.0% told apart.

    The target is the mean over sets of this size, on which the level of average precision depends.
    """
    population = Population(near_duplicates(IMAGES))
    estimates, differences = [], []
    for _ in range(SETS):
        has, scores = population.draw(random, models=2)
        (a, a_parts), (b, b_parts) = (population.evaluate(has, each) for each in scores)
        estimates.append(jackknife_estimate(a, a_parts))
        differences.append(part_difference(a, b, a_parts, b_parts))
    target = np.mean([estimate.value for estimate in estimates])
    covered = np.mean([covers(each, target) for each in estimates])
    rejected = np.mean([difference.p_value <= 0.05 for difference in differences])
    shown = np.mean([verdict(difference) is not Verdict.NOT_SHOWN for difference in differences])
    print("class interval covers", covered, "null rejected", rejected, "by verdict", shown)
    assert 0.92 <= covered <= 0.98
    assert rejected <= 0.065
    assert shown == rejected


def test_a_better_model_is_shown_better_and_a_copy_is_not(random, near_duplicates):
    """Its errors are a tenth smaller; beside it a copy and one that hardly looks at images."""
    population = Population(near_duplicates(IMAGES))
    has, (a, b) = population.draw(random, models=2)
    noise = random.standard_normal(a.shape, np.float32)
    values, parts = zip(
        *(
            population.evaluate(has, scores)
            for scores in (a + np.float32(0.25) * has, a, a, b + 2 * noise)
        ),
        strict=True,
    )
    better = part_difference(values[0], values[1], parts[0], parts[1])
    copy = part_difference(values[1], values[2], parts[1], parts[2])
    assert verdict(better) is Verdict.BETTER
    assert (copy.value, copy.p_value, verdict(copy)) == (0.0, 1.0, Verdict.NOT_SHOWN)
    found = undistinguished_parts(np.array(values), np.array(parts))
    assert found.tolist() == [True, False, False, False]
