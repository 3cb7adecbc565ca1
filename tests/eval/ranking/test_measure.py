"""The metric against trec_eval, scikit-learn and literal loops over the formulas of metric.md."""

import itertools
import math
import re

import numpy as np
import pytest
import pytrec_eval
from sklearn.metrics import average_precision_score, label_ranking_average_precision_score

from manylabel.eval.errors import EvaluationError
from manylabel.eval.ranking.judgements import Judgements, Positives
from manylabel.eval.ranking.measure import Rankings, measure
from manylabel.eval.ranking.scores import MeasuredCounts

pytestmark = pytest.mark.slow

PROBLEMS = 1000
PRECISION_AT = (1, 2, 5)


def kinds(make_problem, **options):
    """Every problem in one of four kinds: with and without ties, unknown classes."""
    for seed in range(PROBLEMS):
        yield make_problem(seed, ties=bool(seed & 1), unknown=bool(seed & 2), **options)


def mean(values):
    values = [value for value in values if not math.isnan(value)]
    return sum(values) / len(values) if values else math.nan


def literal_gains(problem, row):
    """Of each label of an image that is found: its rank and the precision there."""
    judged, labels = problem.judged(row), problem.labels[row]
    return {
        c: (rank, sum(other in labels for other in judged[:rank]) / rank)
        for rank, c in enumerate(judged, start=1)
        if c in labels
    }


def literal_image_average_precision(problem, row, weights):
    total = sum(weights[c] for c in problem.labels[row])
    gains = literal_gains(problem, row).items()
    return sum(weights[c] * gain for c, (_, gain) in gains) / total if total else math.nan


def literal_class_average_precision(problem, class_id):
    """The mean over all places that the hits may take among equal scores, tie by tie."""
    ranked: dict[float, list[bool]] = {}
    for row in range(problem.images):
        if class_id in problem.judged(row):
            hit = class_id in problem.labels[row]
            ranked.setdefault(-float(problem.dense[row, class_id]), []).append(hit)
    total, before, found = 0.0, 0, 0
    for _, tie in sorted(ranked.items()):
        hits = sum(tie)
        placings = list(itertools.combinations(range(1, len(tie) + 1), hits))
        for placing in placings:
            gains = [(found + n) / (before + place) for n, place in enumerate(placing, start=1)]
            total += sum(gains) / len(placings)
        before, found = before + len(tie), found + hits
    count = sum(class_id in labels for labels in problem.labels)
    return total / count if count else math.nan


def test_equal_weights_are_trec_eval(make_problem):
    """trec_eval is given the ranks, so that it ranks equal scores as we do."""
    large = make_problem(1, images=200, classes=150, k=100, ties=True)
    for problem in (*kinds(make_problem), large):
        runs, labels = {}, {}
        for row in range(problem.images):
            judged = problem.judged(row)
            runs[str(row)] = {str(c): float(-rank) for rank, c in enumerate(judged)}
            labels[str(row)] = {str(c): 1 for c in problem.labels[row]}
        evaluator = pytrec_eval.RelevanceEvaluator(labels, {"map_cut.100", "recall.100", "P.1,2,5"})
        nothing = {"map_cut_100": 0.0, "recall_100": 0.0, "P_1": 0.0, "P_2": 0.0, "P_5": 0.0}
        found = evaluator.evaluate(runs)
        trec = [found.get(row, nothing) for row in labels if labels[row]]

        measured = problem.measured(np.full(problem.classes, 0.3))

        scores = measured.scores
        for ours, name in (
            (scores.map_image, "map_cut_100"),
            (scores.weighted_map_image, "map_cut_100"),
            (scores.recall, "recall_100"),
            *((scores.precision[rank], f"P_{rank}") for rank in PRECISION_AT),
        ):
            theirs = mean(image[name] for image in trec)
            assert ours == pytest.approx(theirs, abs=1e-12, nan_ok=True)
        assert measured.counts.images == len(trec)
        assert measured.counts.images_without_labels == problem.images - len(trec)


def test_a_full_ranking_is_scikit_learn(make_problem):
    for seed in range(PROBLEMS):
        classes = 1 + seed % 4
        problem = make_problem(seed, classes=classes, k=classes, labels_at_least=1)
        relevance = np.array([[c in each for c in range(classes)] for each in problem.labels])
        measured = problem.measured()
        single = [
            label_ranking_average_precision_score(relevance[row : row + 1], problem.dense[[row]])
            for row in range(min(problem.images, 2))
        ]
        np.testing.assert_allclose(
            measured.images.average_precision[: len(single)], single, atol=1e-12
        )
        for class_id in np.flatnonzero(relevance.any(axis=0)):
            theirs = average_precision_score(relevance[:, class_id], problem.dense[:, class_id])
            ours = measured.classes.average_precision[class_id]
            assert ours == pytest.approx(theirs, abs=1e-12)


def test_weighted_forms_are_literal_loops(make_problem):
    for problem in kinds(make_problem):
        measured = problem.measured()
        by_image = [
            literal_image_average_precision(problem, row, problem.weights)
            for row in range(problem.images)
        ]
        by_class = [literal_class_average_precision(problem, c) for c in range(problem.classes)]
        present = [c for c, value in enumerate(by_class) if not math.isnan(value)]
        total = sum(problem.weights[c] for c in present)
        weighted = sum(problem.weights[c] * by_class[c] for c in present)

        np.testing.assert_allclose(measured.images.weighted_average_precision, by_image, atol=1e-12)
        np.testing.assert_allclose(measured.classes.average_precision, by_class, atol=1e-12)
        scores = measured.scores
        for ours, literal in (
            (scores.weighted_map_image, mean(by_image)),
            (scores.weighted_map_class, weighted / total if total else math.nan),
            (scores.map_class, mean(by_class)),
        ):
            assert ours == pytest.approx(literal, abs=1e-12, nan_ok=True)


def test_contributions_of_classes_add_up_to_each_form(make_problem):
    for problem in kinds(make_problem):
        measured = problem.measured()
        for contribution, headline in (
            (measured.classes.contribution, measured.scores.weighted_map_class),
            (measured.classes.image_contribution, measured.scores.weighted_map_image),
        ):
            assert contribution.sum() == pytest.approx(headline, abs=1e-12, nan_ok=True)


def test_labels_carry_what_images_and_classes_are_made_of(make_problem):
    for problem in kinds(make_problem):
        measured = problem.measured()
        labels, images, classes = measured.positives, measured.images, measured.classes
        expected = sorted((c, row) for row, each in enumerate(problem.labels) for c in each)
        assert list(zip(labels.class_ids, labels.image_rows, strict=True)) == expected
        for number, (class_id, row) in enumerate(expected):
            rank, gain = literal_gains(problem, row).get(class_id, (0, 0.0))
            assert labels.rank[number] == rank
            assert labels.gain[number] == pytest.approx(gain, abs=1e-15)
            assert rank or labels.class_gain[number] == 0
            score = problem.dense[row, class_id] if rank else np.nan
            np.testing.assert_equal(labels.score[number], score)
        for row in range(problem.images):
            here = labels.image_rows == row
            weight = problem.weights[labels.class_ids[here]]
            assert images.labels[row] == here.sum()
            assert images.label_weight[row] == pytest.approx(weight.sum(), abs=1e-15)
            if weight.any():
                value = weight @ labels.gain[here] / weight.sum()
                assert images.weighted_average_precision[row] == pytest.approx(value, abs=1e-12)
        for class_id in np.unique(labels.class_ids):
            here = labels.class_ids == class_id
            assert classes.positives[class_id] == here.sum()
            assert classes.hits[class_id] == np.count_nonzero(labels.rank[here])
            value = labels.class_gain[here].sum() / here.sum()
            assert classes.average_precision[class_id] == pytest.approx(value, abs=1e-12)


def test_any_partition_merged_in_any_order_gives_the_same_bits(make_problem):
    for seed, problem in enumerate(kinds(make_problem)):
        rng = np.random.default_rng(seed)
        dealt = [Rankings() for _ in range(3)]
        rows = rng.permutation(problem.images)
        for batch in np.split(rows, np.sort(rng.integers(0, problem.images + 1, 4))):
            rankings = dealt[rng.integers(len(dealt))]
            rankings.add(batch, problem.class_ids[batch], problem.scores[batch])
        first, second, third = rng.permutation(np.array(dealt, dtype=object))
        merged = first.merge(second.merge(third)) if seed & 1 else first.merge(second).merge(third)

        whole = problem.measured()
        other = measure(merged, problem.judgements, problem.weights, PRECISION_AT)
        assert repr(other.scores) == repr(whole.scores)
        for part in ("images", "positives", "classes"):
            for name, values in vars(getattr(whole, part)).items():
                np.testing.assert_array_equal(getattr(getattr(other, part), name), values)


def test_a_tie_is_the_average_over_all_orders_of_the_images(make_problem):
    """Each order breaks the ties of all classes in its way."""
    for seed in range(20):
        problem = make_problem(seed, images=5, classes=4, k=4, ties=True, unknown=bool(seed & 1))
        orders = list(itertools.permutations(range(5)))
        values = []
        for order in orders:
            nudged = problem.scores + np.array(order, np.float32)[:, np.newaxis] / 64
            rankings = Rankings()
            rankings.add(np.arange(5), problem.class_ids, nudged)
            measured = measure(rankings, problem.judgements, problem.weights, ())
            values.append(measured.classes.average_precision)
        expected = np.mean(values, axis=0)
        np.testing.assert_allclose(
            problem.measured().classes.average_precision, expected, atol=1e-12
        )


@pytest.mark.parametrize("ties", [False, True])
def test_classes_that_rank_many_images(make_problem, ties):
    """So many that they are sorted in another way than a few."""
    problem = make_problem(7, images=400, classes=6, k=4, ties=ties)
    by_class = [literal_class_average_precision_of_many(problem, c) for c in range(6)]
    np.testing.assert_allclose(problem.measured().classes.average_precision, by_class, atol=1e-12)


def literal_class_average_precision_of_many(problem, class_id):
    """As above, the mean over the placings of a tie place by place: a hit stands at each of them
    as often, and the others are spread evenly over the rest."""
    rows = [row for row in range(problem.images) if class_id in problem.class_ids[row]]
    scores = problem.dense[rows, class_id]
    hits = np.array([class_id in problem.labels[row] for row in rows])
    total = 0.0
    for score in np.unique(scores):
        before, tied = scores > score, scores == score
        size, relevant = tied.sum(), hits[tied].sum()
        for place in range(size):
            ahead = hits[before].sum() + place * (relevant - 1) / max(size - 1, 1)
            total += relevant / size * (ahead + 1) / (before.sum() + place + 1)
    return total / sum(class_id in labels for labels in problem.labels)


def test_only_the_ratios_of_the_weights_count(make_problem):
    for seed in range(50):
        problem = make_problem(seed)
        one, large = (problem.measured(scale * problem.weights).scores for scale in (1.0, 2.0**20))
        assert repr(one) == repr(large)


def test_the_order_of_the_images_does_not_matter(make_problem):
    for seed in range(100):
        problem = make_problem(seed, ties=True)
        rows = np.random.default_rng(seed).permutation(problem.images)
        other = measure(
            problem.rankings(rows), problem.judgements.select(rows), problem.weights, ()
        ).scores
        one = problem.measured().scores
        for name in ("weighted_map_image", "weighted_map_class", "map_class", "recall"):
            assert getattr(one, name) == pytest.approx(getattr(other, name), abs=1e-12, nan_ok=True)


def test_images_without_labels_and_without_weight_are_skipped_and_counted():
    rankings = Rankings()
    rankings.add(np.arange(3), np.array([[0, 1]] * 3, np.int32), np.array([[2, 1]] * 3, np.float32))
    labels = Positives(np.array([0, 0, 1, 2]), np.array([0, 1], np.int32), num_classes=2)
    measured = measure(rankings, Judgements(labels), np.array([0.0, 2.0]), (1,))
    assert measured.counts == MeasuredCounts(
        images=2, images_without_labels=1, images_without_weight=1
    )
    np.testing.assert_array_equal(measured.images.weighted_average_precision, [np.nan, np.nan, 0.5])
    assert measured.scores.weighted_map_image == 0.5
    assert measured.scores.map_image == (1 + 0.5) / 2
    assert measured.scores.precision == {1: 0.5}
    # The image without labels is ranked by both classes, and wrong.
    np.testing.assert_array_equal(measured.classes.average_precision, [(1 + 1 / 2 + 1 / 3) / 3] * 2)


def test_nothing_measured_is_not_a_number():
    labels = Positives(np.array([0]), np.zeros(0, np.int32), num_classes=2)
    measured = measure(Rankings(), Judgements(labels), np.ones(2), (1,))
    scores = vars(measured.scores) | {"precision": measured.scores.precision[1]}
    assert all(np.isnan(value) for value in scores.values())
    assert measured.counts == MeasuredCounts(0, 0, 0)


def test_precision_divides_by_the_rank_also_where_fewer_classes_exist():
    rankings = Rankings()
    rankings.add(np.arange(1), np.array([[1, 0]], np.int32), np.array([[2, 1]], np.float32))
    labels = Positives(np.array([0, 2]), np.array([0, 1], np.int32), num_classes=2)
    assert measure(rankings, Judgements(labels), np.ones(2), (10,)).scores.precision == {10: 0.2}


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1.0], "class weights: expected one for each of 2 classes, received [1]"),
        ([1.0, -0.5], "expected finite values of 0 or more, received -0.5 for class 1"),
        ([np.nan, 1.0], "received nan for class 0"),
        ([1.0, np.inf], "received inf for class 1"),
    ],
)
def test_bad_weights_are_refused(weights, message):
    labels = Positives(np.array([0]), np.zeros(0, np.int32), num_classes=2)
    with pytest.raises(EvaluationError, match=re.escape(message)):
        measure(Rankings(), Judgements(labels), np.array(weights), ())
