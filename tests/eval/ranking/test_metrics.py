"""The metrics against trec_eval, scikit-learn and literal double loops over the formulas."""

import numpy as np
import pytest
import pytrec_eval
from sklearn.metrics import average_precision_score, label_ranking_average_precision_score

from manylabel.eval.ranking.metrics import (
    ClassMetrics,
    ClassScores,
    ImageMetrics,
    ImageScores,
    Positives,
    find_hits,
)

PRECISION_AT = (1, 5, 10)


class Rankings:
    """Random rankings without ties: some images without labels, more classes than k."""

    def __init__(self, seed, images, classes, k, labels_at_most, labels_at_least=0):
        rng = np.random.default_rng(seed)
        self.classes = classes
        # Different scores everywhere: also the classes' rankings of the images have no ties.
        distinct = rng.permutation(images * classes).reshape(images, classes)
        self.all_scores = (distinct / distinct.size).astype(np.float32)
        assert len(np.unique(self.all_scores)) == images * classes
        order = np.argsort(-self.all_scores, axis=1)[:, :k]
        self.class_ids = order.astype(np.int32)
        self.scores = np.take_along_axis(self.all_scores, order, axis=1)
        counts = rng.integers(labels_at_least, labels_at_most + 1, images)
        self.labels = [np.sort(rng.choice(classes, count, replace=False)) for count in counts]
        self.positives = positives_of(self.labels)
        self.weights = rng.random(classes)

    def relevance(self):
        dense = np.zeros((len(self.labels), self.classes), dtype=int)
        for row, label_ids in enumerate(self.labels):
            dense[row, label_ids] = 1
        return dense


def positives_of(labels) -> Positives:
    row_splits = np.concatenate([[0], np.cumsum([len(ids) for ids in labels])]).astype(np.int64)
    class_ids = np.concatenate([np.array(ids, dtype=np.int32) for ids in labels])
    return Positives(row_splits, class_ids)


def measure(rankings, weights, batch_size=64) -> tuple[ImageScores, ClassScores]:
    by_image, by_class = ImageMetrics(weights, PRECISION_AT), ClassMetrics(weights)
    for start in range(0, len(rankings.class_ids), batch_size):
        rows = np.arange(start, min(start + batch_size, len(rankings.class_ids)))
        positives = rankings.positives.select(rows)
        class_ids, scores = rankings.class_ids[rows], rankings.scores[rows]
        hits = find_hits(class_ids, positives, rankings.classes)
        by_image.update(class_ids, hits, positives)
        by_class.update(class_ids, scores, hits, positives, rows)
    return by_image.result(), by_class.result()


def average_precision_by_hand(ranking, labels, weight):
    """The formula of docs/metric.md, image form, read literally."""
    gain = 0.0
    for rank, class_id in enumerate(ranking, start=1):
        if class_id in labels:
            precision = sum(other in labels for other in ranking[:rank]) / rank
            gain += weight[class_id] * precision
    return gain / sum(weight[class_id] for class_id in labels)


def class_average_precision_by_hand(rankings, class_id):
    """The formula of docs/metric.md, class form, read literally."""
    images = []
    for row, (ids, scores) in enumerate(zip(rankings.class_ids, rankings.scores, strict=True)):
        for other, score in zip(ids, scores, strict=True):
            if other == class_id:
                images.append((-score, row))
    with_class = {row for row, labels in enumerate(rankings.labels) if class_id in labels}
    gain = 0.0
    images.sort()
    for rank, (_, row) in enumerate(images, start=1):
        if row in with_class:
            gain += sum(other in with_class for _, other in images[:rank]) / rank
    return gain / len(with_class) if with_class else float("nan")


def test_equal_weights_reproduce_trec_eval():
    rankings = Rankings(seed=1, images=1000, classes=150, k=100, labels_at_most=60)
    runs, judgements = {}, {}
    for row, (ids, scores) in enumerate(zip(rankings.class_ids, rankings.scores, strict=True)):
        runs[str(row)] = {str(c): float(s) for c, s in zip(ids, scores, strict=True)}
        judgements[str(row)] = {str(c): 1 for c in rankings.labels[row]}
    measures = {"map_cut.100", "recall.100", "P.1,5,10"}
    evaluator = pytrec_eval.RelevanceEvaluator(judgements, measures)
    of_image = evaluator.evaluate(runs)
    labelled = [str(row) for row, labels in enumerate(rankings.labels) if len(labels)]
    assert len(labelled) < 1000

    image_scores, _ = measure(rankings, np.full(150, 0.3))

    def trec(name):
        return np.mean([of_image[row][name] for row in labelled])

    assert image_scores.map == pytest.approx(trec("map_cut_100"), abs=1e-6)
    assert image_scores.weighted_map == pytest.approx(trec("map_cut_100"), abs=1e-6)
    assert image_scores.recall == pytest.approx(trec("recall_100"), abs=1e-6)
    for rank in PRECISION_AT:
        assert image_scores.precision[rank] == pytest.approx(trec(f"P_{rank}"), abs=1e-6)
    assert image_scores.images == len(labelled)
    assert image_scores.images_without_labels == 1000 - len(labelled)


@pytest.mark.parametrize("k", [1, 7, 40])
def test_weighted_values_equal_a_double_loop(k):
    rankings = Rankings(seed=2, images=60, classes=40, k=k, labels_at_most=12)
    image_scores, class_scores = measure(rankings, rankings.weights, batch_size=7)

    by_hand = [
        average_precision_by_hand(ranking.tolist(), labels.tolist(), rankings.weights)
        for ranking, labels in zip(rankings.class_ids, rankings.labels, strict=True)
        if len(labels)
    ]
    assert image_scores.weighted_map == pytest.approx(np.mean(by_hand), rel=1e-12)
    of_class = np.array([class_average_precision_by_hand(rankings, c) for c in range(40)])
    np.testing.assert_allclose(class_scores.average_precision, of_class, rtol=1e-12)
    present = ~np.isnan(of_class)
    expected = np.average(of_class[present], weights=rankings.weights[present])
    assert class_scores.weighted_map == pytest.approx(expected, rel=1e-12)
    assert class_scores.map == pytest.approx(np.nanmean(of_class), rel=1e-12)


def test_a_full_ranking_agrees_with_scikit_learn():
    rankings = Rankings(seed=3, images=200, classes=30, k=30, labels_at_most=8, labels_at_least=1)
    image_scores, class_scores = measure(rankings, np.ones(30))
    relevance = rankings.relevance()
    assert image_scores.map == pytest.approx(
        label_ranking_average_precision_score(relevance, rankings.all_scores), abs=1e-12
    )
    of_class = average_precision_score(relevance, rankings.all_scores, average=None)
    np.testing.assert_allclose(class_scores.average_precision, of_class, atol=1e-12)
    assert class_scores.map == pytest.approx(of_class.mean(), abs=1e-12)


@pytest.mark.parametrize("batch_size", [1, 13, 100])
def test_batches_do_not_change_the_result(batch_size):
    rankings = Rankings(seed=4, images=60, classes=20, k=10, labels_at_most=5)
    image_scores, class_scores = measure(rankings, rankings.weights, batch_size)
    whole_image_scores, whole_class_scores = measure(rankings, rankings.weights, 60)
    assert image_scores.weighted_map == pytest.approx(whole_image_scores.weighted_map, rel=1e-12)
    assert image_scores.precision == pytest.approx(whole_image_scores.precision)
    assert class_scores.weighted_map == whole_class_scores.weighted_map


def test_only_the_ratios_of_the_weights_count():
    rankings = Rankings(seed=5, images=50, classes=20, k=10, labels_at_most=5)
    one, large = (measure(rankings, scale * rankings.weights) for scale in (1.0, 1e6))
    assert one[0].weighted_map == pytest.approx(large[0].weighted_map, rel=1e-12)
    assert one[1].weighted_map == pytest.approx(large[1].weighted_map, rel=1e-12)


def test_equal_scores_of_a_class_are_ranked_by_image_row():
    """Class 0 has the same score in both images; only the one of row 1 has it as a label."""

    def class_zero(image_rows):
        by_class = ClassMetrics(np.ones(2))
        ids, scores = np.array([[0], [0]], np.int32), np.full((2, 1), 0.5, np.float32)
        hits = np.array([[False], [True]])
        labels = positives_of([[1], [0]])
        by_class.update(ids, scores, hits, labels, np.array(image_rows))
        return by_class.result().average_precision[0]

    assert class_zero([3, 9]) == 0.5
    assert class_zero([9, 3]) == 1.0


def test_images_without_labels_and_without_weight_are_skipped_and_counted():
    labels = [[], [0], [1]]
    by_image = ImageMetrics(np.array([0.0, 2.0]), (1,))
    ids = np.array([[0, 1]] * 3, np.int32)
    positives = positives_of(labels)
    by_image.update(ids, find_hits(ids, positives, 2), positives)
    result = by_image.result()
    assert (result.images, result.images_without_labels, result.images_without_weight) == (2, 1, 1)
    assert result.weighted_map == 0.5
    assert result.map == (1 + 0.5) / 2
    assert result.precision == {1: 0.5}


def test_nothing_measured_is_not_a_number():
    assert np.isnan(ImageMetrics(np.ones(2), (1,)).result().weighted_map)
    assert np.isnan(ClassMetrics(np.ones(2)).result().weighted_map)


def test_precision_divides_by_the_rank_also_where_fewer_classes_exist():
    by_image = ImageMetrics(np.ones(2), (10,))
    ids, positives = np.array([[1, 0]], np.int32), positives_of([[0, 1]])
    by_image.update(ids, find_hits(ids, positives, 2), positives)
    assert by_image.result().precision == {10: 0.2}


def test_selecting_rows_repeats_reorders_and_keeps_empty_ones():
    positives = positives_of([[1, 4], [], [0]]).select(np.array([2, 1, 0, 0]))
    assert positives.row_splits.tolist() == [0, 1, 1, 3, 5]
    assert positives.class_ids.tolist() == [0, 1, 4, 1, 4]
    assert positives.counts.tolist() == [1, 0, 2, 2]
    assert positives.rows.tolist() == [0, 2, 2, 3, 3]
