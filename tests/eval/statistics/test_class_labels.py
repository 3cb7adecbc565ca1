"""Tests of labels in the class form: against leaving each image out for real, and by simulation."""

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import average_precision_score

from manylabel.eval.statistics.class_labels import ClassGains, class_label_tests
from manylabel.eval.statistics.labels import FALSE_DISCOVERY_RATE, label_tests


class Label:
    """One label's images in two rankings: `positives` of them have it, as the first rows.

    Args:
        ranked: How many of the best images are ranked at all; None: all.
    """

    def __init__(self, scores, positives, ranked=None):
        self.scores, self.positives = np.asarray(scores, dtype=np.float64), positives
        self.ranked = ranked

    def precision(self, scores, without=None):
        """Average precision, found labels by scikit-learn, over all labels that remain."""
        kept = np.arange(len(scores)) != without
        has = (np.arange(len(scores)) < self.positives)[kept]
        in_ranking = self._in_ranking(scores)[kept]
        if not has[in_ranking].any():
            return 0.0
        found = average_precision_score(has[in_ranking], scores[kept][in_ranking])
        return found * has[in_ranking].sum() / has.sum()

    def side(self, scores):
        """Gains and scores of the images that have it, by counting what is above each."""
        own = scores[: self.positives]
        at_least = scores[np.newaxis, :] >= own[:, np.newaxis]
        gains = at_least[:, : self.positives].sum(axis=1) / at_least.sum(axis=1)
        found = self._in_ranking(scores)[: self.positives]
        return ClassGains(
            np.where(found, gains, 0), np.where(found, own, np.nan).astype(np.float32)
        )

    def _in_ranking(self, scores):
        count = len(scores) if self.ranked is None else self.ranked
        return np.argsort(np.argsort(-scores)) < count


def outcome_of(labels, groups=None):
    """class_label_tests of labels with images of their own, and label_tests of the gains."""
    a, b = (
        ClassGains(
            np.concatenate([side.gains for side in sides]),
            np.concatenate([side.scores for side in sides]),
        )
        for sides in zip(*([label.side(s) for s in label.scores] for label in labels), strict=True)
    )
    counts = [label.positives for label in labels]
    class_ids = np.repeat(np.arange(len(labels), dtype=np.int32), counts)
    rows = np.arange(len(class_ids), dtype=np.int32)
    groups = rows.astype(np.int64) if groups is None else groups
    return (
        class_label_tests(class_ids, rows, a, b, groups, len(labels)),
        label_tests(class_ids, rows, a.gains - b.gains, groups, len(labels)),
    )


def draw(random, positives, negatives, separation, alike=0.8, better=0.0):
    """Scores of two models that see an image `alike`; the first is `better` at the label."""
    image = random.normal(size=positives + negatives)
    image[:positives] += separation
    scores = np.sqrt(alike) * image + np.sqrt(1 - alike) * random.normal(size=(2, len(image)))
    scores[0, :positives] += better
    return scores


def p_by_leaving_out(label, groups):
    """The jackknife with everything computed anew without each image."""
    whole = [label.precision(scores) for scores in label.scores]
    effects = np.array(
        [
            [value - label.precision(scores, without) for without in range(len(scores))]
            for value, scores in zip(whole, label.scores, strict=True)
        ]
    )
    paired = (effects[0] - effects[1])[: label.positives]
    sums = np.array([paired[groups == group].sum() for group in np.unique(groups)])
    variance = (len(sums) - 1) / len(sums) * (sums**2).sum()
    variance += (effects[:, label.positives :] ** 2).sum()
    return 2 * stats.t.sf(abs(whole[0] - whole[1]) / np.sqrt(variance), len(sums) - 1)


@pytest.mark.parametrize("ranked", [None, 20, 10])
def test_equals_leaving_each_image_out(random, ranked):
    labels, groups = [], []
    for place, (positives, negatives) in enumerate([(8, 22), (12, 30), (30, 40), (9, 12)]):
        scores = draw(random, positives, negatives, 1.5, better=0.7)
        scores[:, -1] += 3 * (place % 2)  # an image that lacks the label comes first
        labels.append(Label(scores, positives, ranked))
        groups.append(np.minimum(np.arange(positives), positives - 2) + 100 * place)
    groups[0] = np.arange(8)
    found, _ = outcome_of(labels, np.concatenate(groups))
    expected = [p_by_leaving_out(*each) for each in zip(labels, groups, strict=True)]
    assert found.p == pytest.approx(expected, rel=1e-4)  # float32 scores


CASES = [(8, 82, 1.5), (16, 160, 1.5), (50, 500, 1.5), (150, 2_000, 2.0)]


@pytest.mark.parametrize(("positives", "negatives", "separation"), CASES)
def test_equal_models_are_rarely_shown_to_differ(random, positives, negatives, separation):
    """Beside it: the gains as if they were independent reject true nulls many times too often."""
    labels = [Label(draw(random, positives, negatives, separation), positives) for _ in range(600)]
    tests, as_if_independent = outcome_of(labels)
    assert np.mean(tests.p <= 0.05) < 0.05
    assert np.mean(tests.p <= 0.01) < 0.01
    assert np.mean(as_if_independent.p <= 0.05) > 0.10


def test_better_labels_are_found_and_others_are_not(random):
    labels = [
        Label(draw(random, 30, 300, 1.5, better=1.0 if place < 100 else 0.0), 30)
        for place in range(500)
    ]
    tests, _ = outcome_of(labels)
    shown = tests.q <= FALSE_DISCOVERY_RATE
    assert shown[:100].mean() > 0.8
    assert shown[100:].sum() <= 0.1 * shown.sum()
    assert tests.shown_better + tests.shown_worse == shown.sum()
    assert tests.shown_better >= shown[:100].sum()


def test_swapping_keeps_p_and_swaps_the_counts(random):
    labels = [Label(draw(random, 40, 100, 1, better=2), 40) for _ in range(3)]
    forth, _ = outcome_of(labels)
    back, _ = outcome_of([Label(label.scores[::-1], 40) for label in labels])
    assert (back.p == forth.p).all()
    assert (forth.shown_better, forth.shown_worse) == (3, 0)
    assert (back.shown_better, back.shown_worse) == (0, 3)


def test_a_checkpoint_against_itself_shows_nothing(random):
    scores = draw(random, 12, 60, 1)[0]
    tests, _ = outcome_of([Label([scores, scores], 12)])
    assert list(tests.p) == [1]


def test_what_does_not_vary_is_no_certainty():
    """All 9 images first in one ranking, none found in the other: without any image the same."""
    scores = np.arange(20.0)[::-1]
    label = Label([scores, scores], 9)
    found, lost = label.side(scores), ClassGains(np.zeros(9), np.full(9, np.nan, np.float32))
    rows = np.arange(9, dtype=np.int32)
    tests = class_label_tests(rows * 0, rows, found, lost, np.arange(9), 1)
    assert list(tests.p) == [2 / 2**9]


def test_labels_with_too_few_groups_are_not_tested(random):
    labels = [Label(draw(random, count, 40, 1), count) for count in (7, 8, 9)]
    groups = np.concatenate([np.arange(7), np.arange(8) + 10, np.minimum(np.arange(9), 6) + 20])
    tests, _ = outcome_of(labels, groups)
    assert list(np.isnan(tests.p)) == [True, False, True]
    assert (tests.testable, tests.too_few) == (1, 2)
