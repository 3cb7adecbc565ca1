"""What is refused of rankings, and that it is named."""

import re

import numpy as np
import pytest

from manylabel.eval.errors import EvaluationError
from manylabel.eval.ranking.judgements import Judgements, Positives
from manylabel.eval.ranking.measure import Rankings, measure

NAN = np.nan


def collected(rows, class_ids, scores) -> Rankings:
    rankings = Rankings()
    rankings.add(np.array(rows), np.array(class_ids, np.int32), np.array(scores, np.float32))
    return rankings


def measure_two_images(rankings):
    """Both have the label 0, of four classes."""
    labels = Positives(np.array([0, 1, 2]), np.array([0, 0], np.int32), num_classes=4)
    return measure(rankings, Judgements(labels), np.ones(4), ())


@pytest.mark.parametrize(
    ("class_ids", "scores", "message"),
    [
        ([[1, 0], [2, 4]], [[2, 1], [2, 1]], "row 1, place 2: expected class ids in [0, 4), rec"),
        ([[1, 0], [-1, 2]], [[2, 1], [2, 1]], "row 1, place 1: expected class ids in [0, 4), rec"),
        (
            [[1, 1], [1, 2]],
            [[2, 1], [2, 1]],
            "row 0, place 2: expected each class once, received 1",
        ),
        ([[1, 0], [2, 0]], [[2, 1], [2, NAN]], "row 1, place 2: expected a score, rec"),
        ([[1, 0], [1, 2]], [[NAN, 1], [2, 1]], "row 0, place 1: expected a score, received NaN"),
        (
            [[1, 0], [1, 2]],
            [[2, 1], [2, 3]],
            "row 1, place 2: expected the best score first and equal scores by class id, received "
            "class 2 of score 3.0 after class 1 of score 2.0",
        ),
        (
            [[1, 0], [1, 2]],
            [[2, 2], [2, 1]],
            "row 0, place 2: expected the best score first and eq",
        ),
    ],
)
def test_a_bad_ranking_is_named(class_ids, scores, message):
    with pytest.raises(EvaluationError, match=re.escape(f"ranking of image {message}")):
        measure_two_images(collected([0, 1], class_ids, scores))


def test_within_an_image_equal_scores_go_by_class_id():
    measured = measure_two_images(collected([0, 1], [[0, 3], [0, 1]], [[5, 5], [-0.0, 0.0]]))
    assert measured.positives.rank.tolist() == [1, 1]


def test_rows_say_which_image_it_is():
    measured = measure_two_images(collected([1, 0], [[0, 3], [2, 1]], [[2, 1], [2, 1]]))
    assert measured.positives.rank.tolist() == [0, 1]


def test_infinite_scores_are_scores():
    scores = [[np.inf, 0], [1, -np.inf]]
    measured = measure_two_images(collected([0, 1], [[1, 0], [1, 0]], scores))
    assert measured.classes.average_precision[0] == 1


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([0], "expected each of 2 images once, received none for 1 and several for 0, e.g. 0 for "),
        ([0, 0, 1], "none for 0 and several for 1, e.g. 2 for image row 0; predict again"),
        ([0, 2], "expected image rows in [0, 2), received 2"),
        ([-1, 0, 1], "expected image rows in [0, 2), received -1"),
        ([], "expected each of 2 images once, received none for 2"),
    ],
)
def test_each_image_is_there_once(rows, message):
    rankings = Rankings()
    for row in rows:
        rankings = rankings.merge(collected([row], [[1, 0]], [[2, 1]]))
    with pytest.raises(EvaluationError, match=re.escape(message)):
        measure_two_images(rankings)


def test_one_k_for_all():
    one, two = collected([0], [[1]], [[2]]), collected([1], [[1, 0]], [[2, 1]])
    with pytest.raises(EvaluationError, match="expected 1 classes an image as before, received 2"):
        one.merge(two)
    with pytest.raises(EvaluationError, match="expected 2 classes an image as before, received 1"):
        two.add(np.array([2]), np.array([[1]], np.int32), np.array([[2]], np.float32))


def test_merging_leaves_both_as_they_were():
    one, two = collected([0], [[1]], [[2]]), collected([1], [[1]], [[2]])
    merged = [measure_two_images(each) for each in (one.merge(two), two.merge(one))]
    assert merged[0].scores == merged[1].scores
    for alone in (one, two):  # Of the other's image each still knows nothing.
        with pytest.raises(EvaluationError):
            measure_two_images(alone)


@pytest.mark.parametrize(
    ("rows", "class_ids", "scores", "message"),
    [
        (np.arange(3), np.zeros((2, 1), np.int32), np.zeros((2, 1), np.float32), "[3], [2, 1], [2"),
        (np.arange(2), np.zeros((2, 1), np.int32), np.zeros((2, 2), np.float32), "[2, 1], [2, 2]"),
        (np.arange(2), np.zeros(2, np.int32), np.zeros(2, np.float32), "[2], [2], [2]"),
        (np.arange(1), np.zeros((1, 1), np.int64), np.zeros((1, 1), np.float32), "int64, int64"),
        (np.arange(1), np.zeros((1, 1), np.int32), np.zeros((1, 1)), "int64, int32, float64"),
    ],
)
def test_shapes_and_types_are_checked_when_they_come(rows, class_ids, scores, message):
    with pytest.raises(EvaluationError, match=re.escape(message)):
        Rankings().add(rows, class_ids, scores)
