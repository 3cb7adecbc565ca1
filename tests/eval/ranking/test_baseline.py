import numpy as np
import pytest

from manylabel.eval.ranking.baseline import frequency_baseline
from manylabel.eval.ranking.judgements import Judgements, Positives

# Three images with the labels {1}, {3, 4}, {0, 4}; the ranking is 4, 1, 3, 0 for each of them.
COUNTS = np.array([1, 5, 0, 5, 9])
LABELS = Judgements(
    Positives(np.array([0, 1, 3, 5]), np.array([1, 3, 4, 0, 4], dtype=np.int32), num_classes=5)
)


def test_every_image_gets_the_most_frequent_classes_ties_by_class_id():
    measured = frequency_baseline(COUNTS, 4, LABELS, np.ones(5), (1,))
    assert measured.positives.class_ids.tolist() == [0, 1, 3, 4, 4]
    assert measured.positives.rank.tolist() == [4, 2, 3, 1, 1]
    assert frequency_baseline(COUNTS, 2, LABELS, np.ones(5), (1,)).classes.hits.tolist() == [
        *(0, 1, 0, 0, 2)
    ]


def test_fewer_classes_than_k_are_ranked_whole():
    assert frequency_baseline(COUNTS, 100, LABELS, np.ones(5), (1,)).scores.recall == 1.0


def test_a_class_is_scored_by_the_mean_over_all_orders_of_the_images():
    """One of three images first, second or third: (1 + 1/2 + 1/3) / 3; two of three likewise."""
    measured = frequency_baseline(COUNTS, 4, LABELS, np.ones(5), (1,))
    one = (1 + 1 / 2 + 1 / 3) / 3
    two = ((1 + 1) / 2 + (1 + 2 / 3) / 2 + (1 / 2 + 2 / 3) / 2) / 3
    np.testing.assert_allclose(
        measured.classes.average_precision, [one, one, np.nan, one, two], rtol=1e-15
    )


@pytest.mark.parametrize("seed", range(20))
def test_the_order_of_the_images_does_not_matter(seed):
    rows = np.random.default_rng(seed).permutation(3)
    weights = np.array([1.0, 2.0, 3.0, 4.0, 5.0])
    here = frequency_baseline(COUNTS, 4, LABELS, weights, (1,)).scores
    there = frequency_baseline(COUNTS, 4, LABELS.select(rows), weights, (1,)).scores
    assert here.weighted_map_class == there.weighted_map_class
