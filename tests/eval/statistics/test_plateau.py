"""Which checkpoints cannot be told from the best observed."""

import numpy as np
import pytest
from scipy import stats

from manylabel.eval.errors import EvaluationError
from manylabel.eval.statistics.differences import holm, image_difference, part_difference
from manylabel.eval.statistics.plateau import undistinguished_images, undistinguished_parts


def parts_of_means(values, parts):
    """Means of each row of values without the images of each part, [S, P]."""
    return np.array([values[:, parts != part].mean(axis=1) for part in range(parts.max() + 1)]).T


def test_by_hand_from_single_differences(random, near_duplicates, draw_scores):
    groups = near_duplicates(500)
    values = draw_scores(random, 500, 12) + np.linspace(0, 0.15, 12)[:, np.newaxis]
    best = values.mean(axis=1).argmax()
    others = [place for place in range(12) if place != best]
    p = []
    for place in others:
        paired = image_difference(values[place], values[best], groups, flips=1)
        assert paired.standard_error is not None
        t = abs(paired.value) / paired.standard_error
        p.append(2 * stats.t.sf(t, len(np.unique(groups)) - 1))
    expected = np.ones(12, dtype=bool)
    expected[others] = holm(np.array(p)) > 0.05
    assert 1 < expected.sum() < 12
    assert (undistinguished_images(values, groups) == expected).all()


def test_by_hand_from_single_differences_in_the_class_form(random):
    """Of six parts, where the degrees of freedom matter."""
    sizes = []
    for _ in range(30):
        values = random.normal(0.3, 1, (12, 400)) + np.linspace(0, 1, 12)[:, np.newaxis]
        means, parts = values.mean(axis=1), parts_of_means(values, np.arange(400) % 6)
        best = means.argmax()
        others = [place for place in range(12) if place != best]
        p = [
            part_difference(means[place], means[best], parts[place], parts[best]).p_value
            for place in others
        ]
        expected = np.ones(12, dtype=bool)
        expected[others] = holm(np.array(p)) > 0.05
        sizes.append(expected.sum())
        assert (undistinguished_parts(means, parts) == expected).all()
    assert 1 < np.mean(sizes) < 11


def test_copies_of_the_best_cannot_be_told_and_far_worse_ones_can(random):
    best = random.random(300)
    values = np.array([best - 0.5, best, best - 0.001 * random.random(300), best])
    groups = np.arange(300)
    assert list(undistinguished_images(values, groups)) == [False, True, False, True]
    parts = parts_of_means(values, np.arange(300) % 50)
    found = undistinguished_parts(values.mean(axis=1), parts)
    assert list(found) == [False, True, False, True]


def test_float32_and_images_that_are_not_counted(random):
    values, groups = random.random((5, 200)), np.arange(200) // 2
    values += np.linspace(0, 0.2, 5)[:, np.newaxis]
    values[:, ::9] = np.nan
    kept = ~np.isnan(values[0])
    expected = undistinguished_images(values[:, kept], groups[kept])
    assert (undistinguished_images(values, groups) == expected).all()
    assert (undistinguished_images(values.astype(np.float32), groups) == expected).all()


def test_evaluations_of_other_images_are_refused(random):
    values = random.random((3, 20))
    values[1, 4] = np.nan
    with pytest.raises(EvaluationError, match="count the same images"):
        undistinguished_images(values, np.arange(20))
    with pytest.raises(EvaluationError, match="parts of 3 evaluations, received those of 2"):
        undistinguished_parts(np.zeros(3), np.zeros((2, 100)))


@pytest.mark.parametrize("count", [0, 1])
def test_of_one_or_none_all_are_kept(count):
    assert undistinguished_images(np.zeros((count, 9)), np.arange(9)).tolist() == [True] * count
    assert undistinguished_parts(np.zeros(count), np.zeros((count, 9))).tolist() == [True] * count


def test_what_cannot_be_compared_is_not_told_apart():
    one_group = np.zeros(4, dtype=np.int64)
    values = np.array([[0.1, 0.1, 0.1, 0.1], [0.9, 0.9, 0.9, 0.9]])
    assert undistinguished_images(values, one_group).all()
    assert undistinguished_images(np.full((2, 4), np.nan), np.arange(4)).all()
    assert undistinguished_parts(np.array([0.1, 0.9]), np.array([[0.1], [0.9]])).all()
    assert undistinguished_parts(np.array([np.nan, np.nan]), np.zeros((2, 9))).all()
