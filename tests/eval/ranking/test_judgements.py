import re

import numpy as np
import pytest

from manylabel.eval.errors import EvaluationError
from manylabel.eval.ranking.judgements import Judgements, Positives


def positives(row_splits, class_ids, num_classes=5) -> Positives:
    return Positives(np.array(row_splits), np.array(class_ids, dtype=np.int32), num_classes)


@pytest.mark.parametrize(
    ("row_splits", "class_ids", "message"),
    [
        # Rows 1 and 3 are empty: the place of a label is not that of its image.
        ([0, 2, 2, 4, 4], [0, 3, 4, 1], "row 2: expected ascending class ids without repeats, rec"),
        ([0, 2, 2, 4, 4], [3, 3, 1, 4], "row 0: expected ascending class ids without repeats, rec"),
        (
            [0, 0, 3],
            [0, 2, 2],
            "row 1: expected ascending class ids without repeats, received 2 an",
        ),
        ([0, 2, 2, 4, 4], [0, 3, 1, 5], "row 2: expected class ids in [0, 5), received 5"),
        ([0, 1, 2], [0, -1], "row 1: expected class ids in [0, 5), received -1"),
        ([0, 3, 1, 4], [0, 1, 2, 3], "row 1: expected row splits that do not fall, received 3 and"),
    ],
)
def test_bad_labels_are_named(row_splits, class_ids, message):
    with pytest.raises(EvaluationError, match=re.escape(f"labels of image {message}")):
        positives(row_splits, class_ids)


@pytest.mark.parametrize(
    ("row_splits", "class_ids", "message"),
    [
        ([1, 2], [0, 1], "expected row splits from 0 to 2, the number of class ids, received 1"),
        (
            [0, 1],
            [0, 1],
            "expected row splits from 0 to 2, the number of class ids, received 0 to 1",
        ),
        (
            [[0, 1]],
            [0],
            "expected row splits of shape [images + 1] and class ids of shape [labels]",
        ),
        ([0, 1], [[0]], "received [2] and [1, 1]"),
    ],
)
def test_bad_splits_are_refused(row_splits, class_ids, message):
    with pytest.raises(EvaluationError, match=re.escape(message)):
        positives(row_splits, class_ids)


def test_types_are_checked():
    with pytest.raises(EvaluationError, match="expected int64 row splits and int32 class ids, rec"):
        Positives(np.array([0, 1]), np.array([0]), 5)
    with pytest.raises(EvaluationError, match="received int32 and int32"):
        Positives(np.array([0, 1], np.int32), np.array([0], np.int32), 5)


def test_an_image_may_begin_below_where_the_last_one_ended():
    labels = positives([0, 0, 2, 2, 4, 4], [3, 4, 0, 4])
    assert labels.num_images == 5
    assert labels.rows.tolist() == [1, 1, 3, 3]
    positives([0], [])


def test_selecting_rows_repeats_reorders_and_keeps_empty_ones():
    selected = positives([0, 2, 2, 3], [1, 4, 0]).select(np.array([2, 1, 0, 0]))
    assert selected.row_splits.tolist() == [0, 1, 1, 3, 5]
    assert selected.class_ids.tolist() == [0, 1, 4, 1, 4]
    assert selected.counts.tolist() == [1, 0, 2, 2]
    assert selected.rows.tolist() == [0, 2, 2, 3, 3]
    assert selected.num_classes == 5


def test_a_class_is_a_label_or_a_negative():
    labels, negatives = positives([0, 1, 3], [2, 1, 4]), positives([0, 2, 4], [1, 3, 0, 4])
    with pytest.raises(
        EvaluationError, match=r"image row 1: .* received class 4 as both, and 0 mo"
    ):
        Judgements(labels, negatives)


def test_negatives_are_of_the_same_images_and_classes():
    labels = positives([0, 1, 1], [2])
    with pytest.raises(EvaluationError, match=r"2 images and 5 classes, as .* received 1 images"):
        Judgements(labels, positives([0, 1], [0]))
    with pytest.raises(EvaluationError, match="received 2 images and 9 classes"):
        Judgements(labels, positives([0, 1, 1], [0], num_classes=9))


def test_judgements_are_selected_together():
    judgements = Judgements(positives([0, 1, 3], [2, 1, 4]), positives([0, 2, 2], [1, 3]))
    selected = judgements.select(np.array([1, 0]))
    assert selected.positives.class_ids.tolist() == [1, 4, 2]
    assert selected.negatives is not None
    assert selected.negatives.row_splits.tolist() == [0, 0, 2]
    assert Judgements(positives([0, 0], [])).select(np.array([0])).negatives is None
