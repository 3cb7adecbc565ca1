"""What labels add to a difference, and which of them are shown."""

import numpy as np
import pytest
from scipy import stats

from manylabel.eval.statistics.labels import (
    FALSE_DISCOVERY_RATE,
    class_contributions,
    image_contributions,
    image_label_differences,
    label_tests,
)
from manylabel.eval.statistics.sign_flips import exact_flip_p


def outcome_of(values_by_label, groups_by_label=None):
    """Tests of labels, each with images of its own, one a group unless groups are given."""
    counts = [len(values) for values in values_by_label]
    images = sum(counts)
    groups = np.arange(images) if groups_by_label is None else np.concatenate(groups_by_label)
    return label_tests(
        np.repeat(np.arange(len(counts), dtype=np.int32), counts),
        np.arange(images, dtype=np.int32),
        np.concatenate([np.asarray(values, dtype=np.float64) for values in values_by_label]),
        groups,
        len(counts),
    )


def test_image_contributions_add_up_to_the_difference(random):
    has = random.random((200, 30)) < 0.2
    image_rows, class_ids = (a.astype(np.int32) for a in np.nonzero(has))
    a, b = random.random((2, len(class_ids)))
    weights = random.random(30) * (np.arange(30) > 3)
    label_weight = has @ weights
    precision = []
    for gains in (a, b):
        gained = np.zeros((200, 30))
        gained[image_rows, class_ids] = gains
        precision.append((gained @ weights)[label_weight > 0] / label_weight[label_weight > 0])
    differences = image_label_differences(class_ids, image_rows, a, b, weights, label_weight)
    found = image_contributions(class_ids, differences, 30, int((label_weight > 0).sum()))
    expected = precision[0].mean() - precision[1].mean()
    assert found.sum() == pytest.approx(expected, abs=1e-12)
    assert not found[:4].any()
    swapped = image_label_differences(class_ids, image_rows, b, a, weights, label_weight)
    assert (swapped == -differences).all()


def test_an_images_labels_share_its_difference():
    """Weights 3 and 1; gains 1 and 0.5 against 0.5 and 0.5: 3 * 0.5 / 4 and 0."""
    differences = image_label_differences(
        np.array([0, 1], dtype=np.int32),
        np.array([0, 0], dtype=np.int32),
        np.array([1.0, 0.5]),
        np.array([0.5, 0.5]),
        np.array([3.0, 1.0]),
        np.array([4.0]),
    )
    assert list(differences) == [0.375, 0.0]


def test_class_contributions_add_up_to_the_difference(random):
    a, b, weights = random.random((3, 50))
    a[7] = b[7] = np.nan
    present = ~np.isnan(a)
    found = class_contributions(a, b, weights)
    expected = np.average(a[present], weights=weights[present]) - np.average(
        b[present], weights=weights[present]
    )
    assert found.sum() == pytest.approx(expected, abs=1e-12)
    assert found[7] == 0


def test_labels_of_no_weight_add_nothing():
    nothing = np.zeros(2)
    assert list(class_contributions(np.ones(2), nothing, nothing)) == [0, 0]
    ids = np.array([0, 1], dtype=np.int32)
    differences = image_label_differences(ids, ids, np.ones(2), nothing, nothing, nothing)
    assert list(image_contributions(ids, differences, 2, images=0)) == [0, 0]


def test_few_groups_are_tested_exactly_and_many_by_students_test(random):
    """A label of 40 groups of which 20 differ at all is exact too."""
    values = [random.normal(0.5, 1, count) for count in (8, 20, 21, 300)]
    values.append(np.where(np.arange(40) < 20, random.normal(0.5, 1, 40), 0))
    tests = outcome_of(values)
    expected = [
        exact_flip_p(values[0]),
        exact_flip_p(values[1]),
        stats.ttest_1samp(values[2], 0).pvalue,
        stats.ttest_1samp(values[3], 0).pvalue,
        exact_flip_p(values[4][:20]),
    ]
    assert tests.p == pytest.approx(expected, rel=1e-9)
    assert tests.q == pytest.approx(stats.false_discovery_control(expected), rel=1e-9)


def test_near_duplicates_count_as_one(random):
    values, groups = random.normal(0.3, 1, 90), np.arange(90) // 3
    found = outcome_of([values], [groups])
    expected = stats.ttest_1samp(values.reshape(30, 3).sum(axis=1), 0).pvalue
    assert found.p[0] == pytest.approx(expected)
    few = outcome_of([np.ones(70)], [np.arange(70) // 10])
    assert (few.testable, few.too_few) == (0, 1)


def test_counts():
    better, worse = np.linspace(1, 1.1, 30), -np.linspace(1, 1.1, 30)
    undecided = np.tile([1.0, -1.0], 15)
    seven, none = np.ones(7), np.zeros(0)
    tests = outcome_of([better, worse, better, undecided, seven, none, np.ones(8)])
    assert (tests.testable, tests.too_few) == (5, 1)
    assert (tests.shown_better, tests.shown_worse) == (3, 1)  # 8 alike: p = 2 / 2^8
    assert list(np.isnan(tests.p)) == [False, False, False, False, True, True, False]
    assert (np.isnan(tests.p) == np.isnan(tests.q)).all()
    assert tests.p[6] == 2 / 2**8


def test_a_false_discovery_rate_of_a_tenth_is_shown():
    """Each p is 2 / 2^8 and 16 such of 192 labels have q = 2 / 2^8 * 192 / 16 = 0.094."""
    moved, still = np.ones(8), np.zeros(8)
    outcome = outcome_of([moved] * 16 + [still] * 176)
    assert outcome.q[0] == pytest.approx(0.09375)
    assert outcome.shown_better == 16
    more = outcome_of([moved] * 16 + [still] * 192)
    assert more.q[0] == pytest.approx(2 / 2**8 * 208 / 16)  # 0.102
    assert more.shown_better == 0


def test_order_of_rows_does_not_matter(random):
    class_ids = random.integers(0, 6, 300).astype(np.int32)
    image_rows = random.permutation(300).astype(np.int32)
    differences, groups = random.normal(0.2, 1, 300), random.integers(0, 250, 300)
    found = label_tests(class_ids, image_rows, differences, groups, 6)
    order = random.permutation(300)
    again = label_tests(class_ids[order], image_rows[order], differences[order], groups, 6)
    assert again.p == pytest.approx(found.p, rel=1e-9)


def test_swapping_keeps_p_and_swaps_the_counts(random):
    values = [random.normal(shift, 1, 40) for shift in (1, 1, 0, 0, -1)]
    forth, back = outcome_of(values), outcome_of([-each for each in values])
    assert (back.p == forth.p).all()
    assert (back.q == forth.q).all()
    assert (forth.shown_better, forth.shown_worse) == (2, 1)
    assert (back.shown_better, back.shown_worse) == (1, 2)


def test_a_checkpoint_against_itself_shows_nothing():
    tests = outcome_of([np.zeros(count) for count in (8, 25)])
    assert list(tests.p) == [1, 1]
    assert (tests.shown_better, tests.shown_worse) == (0, 0)


def test_no_labels_at_all():
    tests = outcome_of([np.zeros(0), np.zeros(0)])
    assert (tests.testable, tests.too_few, tests.shown_better) == (0, 0, 0)
    assert np.isnan(tests.p).all()


def test_false_discoveries_are_as_rare_as_said(random):
    """400 labels of 8 to 80 images, 40 of them truly better: how many of the shown are others."""
    shares, found = [], []
    for _ in range(50):
        counts = random.integers(8, 81, 400)
        shift = np.where(np.arange(400) < 40, 0.8, 0)
        tests = outcome_of([random.normal(at, 1, n) for at, n in zip(shift, counts, strict=True)])
        shown = tests.q <= FALSE_DISCOVERY_RATE
        shares.append(shown[40:].sum() / max(shown.sum(), 1))
        found.append(shown[:40].mean())
    assert 0.06 < np.mean(shares) < 0.12
    assert np.mean(found) > 0.7
