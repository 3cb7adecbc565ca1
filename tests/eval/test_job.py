"""The join with the held-out labels, the baseline, and what each setting changes."""

import shutil

import numpy as np
import pytest

from manylabel.eval.config import EvalConfig, MetricForm, UnknownKind, WeightsConfig
from manylabel.eval.errors import EvaluationError
from manylabel.eval.job import Evaluator
from manylabel.eval.store.evaluations import (
    predictions_path,
    read_classes,
    read_images,
    read_parts,
    read_positives,
    read_summaries,
    read_summary,
    write_evaluation,
)
from manylabel.eval.store.predictions import PredictionBatch, write_predictions
from manylabel.storage.dataset import Dataset

COUNTS = [40, 30, 20, 10, 5, 5, 2, 1]
HELDOUT = {
    "b.jpg": [0, 3],
    "a.jpg": [1],
    "d.jpg": [],
    "c.jpg": [0, 1, 6],
    "e.jpg": [2, 7],
}
CONFIG = EvalConfig(k=5, precision_at=(1, 5))


def predict(image_ids=tuple(HELDOUT), width=8, batch_size=2, seed=0):
    rng = np.random.default_rng(seed)
    scores = {image_id: rng.random(8).astype(np.float32) for image_id in HELDOUT}
    for start in range(0, len(image_ids), batch_size):
        ids = image_ids[start : start + batch_size]
        rows = np.stack([scores.get(image_id, scores["a.jpg"]) for image_id in ids])
        best = np.argsort(-rows, axis=1)[:, :width].astype(np.int32)
        yield PredictionBatch(ids, best, np.take_along_axis(rows, best, axis=1))


def most_frequent_first(image_ids):
    """The five classes with most training images, the same scores for every image."""
    ids = np.tile(np.arange(5, dtype=np.int32), (len(image_ids), 1))
    scores = np.tile(np.array(COUNTS[:5], np.float32), (len(image_ids), 1))
    return [PredictionBatch(list(image_ids), ids, scores)]


def evaluate(predictions, dataset, config, provenance):
    return Evaluator(dataset, config).evaluate(predictions, provenance)


def evaluate_files(run, dataset, config, provenance):
    return Evaluator(dataset, config).evaluate_files(run, provenance)


def summaries_of(run):
    unreadable: list[Exception] = []
    summaries = read_summaries(run, unreadable.append)
    assert unreadable == []
    return summaries


@pytest.fixture
def dataset(make_dataset):
    return make_dataset(HELDOUT, COUNTS)


def test_the_summary_leads_back_to_its_sources(dataset, provenance):
    summary = evaluate(predict(), dataset, CONFIG, provenance).summary
    assert summary.provenance == provenance
    assert summary.dataset.content_digest == dataset.content_digest
    assert summary.config == CONFIG
    counts = summary.counts
    assert (counts.images, counts.images_without_labels, counts.images_without_weight) == (4, 1, 0)
    assert (counts.labels, counts.classes, counts.classes_with_images) == (8, 8, 6)
    assert summary.headline.name == "weighted MAP@5 (class form)"
    assert summary.headline.ratio_to_baseline == (
        summary.headline.value / summary.headline.baseline
    )


def test_the_baseline_is_what_the_constant_ranking_scores(dataset, provenance):
    summary = evaluate(predict(), dataset, CONFIG, provenance).summary
    constant = most_frequent_first(HELDOUT)
    of_constant = evaluate(constant, dataset, CONFIG, provenance).summary
    assert summary.baseline == of_constant.scores == of_constant.baseline
    assert of_constant.headline.ratio_to_baseline == 1
    # Ranking 0 1 2 3 4; images {0, 3}, {1}, {0, 1, 6}, {2, 7}.
    by_hand = [(1 + 2 / 4) / 2, 1 / 2, 2 / 3, (1 / 3) / 2]
    assert summary.baseline.map_image == pytest.approx(np.mean(by_hand))


def test_a_baseline_of_zero_has_no_ratio(make_dataset, provenance):
    dataset = make_dataset({"a.jpg": [7]}, COUNTS)
    constant = most_frequent_first(["a.jpg"])
    summary = evaluate(constant, dataset, CONFIG, provenance).summary
    headline = summary.headline
    assert (headline.value, headline.baseline, headline.ratio_to_baseline) == (0, 0, None)


def test_neither_order_nor_batches_of_the_predictions_count(make_dataset, dataset, provenance):
    """The baseline's class form is all ties, so it shows that ties follow no order."""
    first = evaluate(predict(), dataset, CONFIG, provenance)
    shuffled = tuple(reversed(HELDOUT))
    other_file = make_dataset([(name, HELDOUT[name]) for name in shuffled], COUNTS)
    second = evaluate(predict(shuffled, batch_size=3), other_file, CONFIG, provenance)
    for one, other in (
        (first.summary.scores, second.summary.scores),
        (first.summary.baseline, second.summary.baseline),
    ):
        assert one.precision == other.precision
        of_one, of_other = (each.model_dump(exclude={"precision"}) for each in (one, other))
        assert of_one == pytest.approx(of_other, rel=1e-12)
    assert first.tables.classes.equals(second.tables.classes)
    assert first.summary.baseline.map_class > 0


def test_predictions_beyond_k_do_not_count(dataset, provenance):
    wide, narrow = (evaluate(predict(width=width), dataset, CONFIG, provenance) for width in (8, 5))
    assert wide.summary == narrow.summary
    assert wide.tables.classes.equals(narrow.tables.classes)


def test_a_small_vocabulary_is_ranked_whole(dataset, provenance):
    summary = evaluate(predict(), dataset, EvalConfig(), provenance).summary
    assert summary.scores.recall == 1
    with pytest.raises(EvaluationError, match=r"at least 8 predictions .* received 7.*eval\.k"):
        evaluate(predict(width=7), dataset, EvalConfig(), provenance)


def test_each_setting_changes_what_it_says(dataset, provenance, tmp_path):
    def headline(**changes):
        config = EvalConfig.model_validate({"k": 5, "precision_at": [1, 5]} | changes)
        return evaluate(predict(), dataset, config, provenance).summary

    default = headline()
    assert headline(k=6).scores.recall > default.scores.recall
    assert list(headline(precision_at=[2]).scores.precision) == [2]
    by_image = headline(form="image")
    assert by_image.scores == default.scores
    assert by_image.settings == default.settings
    assert by_image.headline.value == default.scores.weighted_map_image != default.headline.value
    assert by_image.headline.name == "weighted MAP@5 (image form)"
    assert by_image == default.in_form(MetricForm.IMAGE)

    table = tmp_path / "weights.csv"
    table.write_text("label,weight\nlabel 0,1\n")
    csv = {"kind": "csv", "csv": str(table)}
    weights = [
        {"kind": "uniform"},
        {"kind": "training_share"},
        {"kind": "training_log_count"},
        csv | {"missing": 0},
        csv | {"missing": 5},
    ]
    values = [headline(weights=each).headline.value for each in weights]
    assert len(set(values)) == len(values)
    assert values[0] == pytest.approx(default.scores.map_class)


def test_the_batch_size_bounds_what_is_read_at_once(
    dataset, provenance, tmp_path, monkeypatch, origin_of
):
    sizes = []
    original = PredictionBatch.__post_init__

    def recording(self):
        sizes.append(len(self.image_ids))
        original(self)

    path = predictions_path(tmp_path, provenance.step)
    write_predictions(path, predict(batch_size=5), origin_of(dataset))
    monkeypatch.setattr(PredictionBatch, "__post_init__", recording)
    evaluate_files(tmp_path, dataset, CONFIG.model_copy(update={"batch_size": 2}), provenance)
    assert sizes == [2, 2, 1]


@pytest.mark.parametrize(
    ("image_ids", "message"),
    [
        (("a.jpg", "b.jpg", "c.jpg", "d.jpg"), "5 held-out images once, received none for 1"),
        ((*HELDOUT, "c.jpg"), "several for 1, e.g. 2 for 'c.jpg'"),
        ((*HELDOUT, "z.jpg"), "image 'z.jpg', which is not in the held-out split"),
        ((), "received none for 5"),
    ],
)
def test_each_image_must_be_predicted_once(dataset, provenance, image_ids, message):
    with pytest.raises(EvaluationError, match=message):
        evaluate(predict(image_ids), dataset, CONFIG, provenance)


def test_a_repeat_within_one_batch_is_found(dataset, provenance):
    with pytest.raises(EvaluationError, match=r"2 for 'c\.jpg'"):
        evaluate(predict((*HELDOUT, "c.jpg"), batch_size=6), dataset, CONFIG, provenance)


def test_classes_outside_the_vocabulary_are_refused(make_dataset, provenance):
    small = make_dataset({name: [0] for name in HELDOUT}, COUNTS[:7])
    with pytest.raises(EvaluationError, match=r"in \[0, 7\), received 7.*another label table"):
        evaluate(predict(), small, CONFIG, provenance)


@pytest.mark.parametrize(
    ("heldout", "message"),
    [
        ([("a.jpg", [0]), ("a.jpg", [1])], "image 'a.jpg' is twice in the held-out split"),
        ([], "the held-out split is empty"),
        ([("a.jpg", [8])], r"label ids in \[0, 8\) without repeats, received 8 in image 'a.jpg'"),
        ([("b.jpg", [1]), ("a.jpg", [2, 2])], "received 2 in image 'a.jpg'"),
        ([("a.jpg", [3, 2])], "received 2 in image 'a.jpg'"),
        ([("a.jpg", [])], "received 0 images with labels"),
    ],
)
def test_a_held_out_split_that_cannot_be_scored_is_refused(
    make_dataset, provenance, heldout, message
):
    dataset = make_dataset(heldout, COUNTS)
    image_ids = tuple(name for name, _ in heldout)
    with pytest.raises(EvaluationError, match=message):
        evaluate(predict(image_ids), dataset, CONFIG, provenance)


def test_labels_that_all_weigh_nothing_are_refused(make_dataset, provenance):
    counts = [0, *COUNTS[1:]]
    dataset = make_dataset({"a.jpg": [0]}, counts)
    with pytest.raises(EvaluationError, match=r"1 images with labels, all of weight 0"):
        evaluate(predict(("a.jpg",)), dataset, CONFIG, provenance)


def test_files_of_a_run_are_evaluated_and_read_back(dataset, provenance, tmp_path, origin_of):
    run = tmp_path / "run"
    for step in (20, 5):
        write_predictions(predictions_path(run, step), predict(seed=step), origin_of(dataset))
        at = provenance.model_copy(update={"step": step})
        summary = evaluate_files(run, dataset, CONFIG, at)
        assert read_summary(run, step, summary.settings) == summary
    assert [each.provenance.step for each in summaries_of(run)] == [5, 20]
    classes = read_classes(run, 20, summary.settings)
    assert classes.column("class_id").to_pylist() == list(range(8))
    assert classes.column("heldout_count").to_pylist() == [2, 2, 1, 1, 0, 0, 1, 1]
    assert classes.column("average_precision").to_pylist()[4] is None
    assert sum(classes.column("weight").to_pylist()) == pytest.approx(1)
    expected = evaluate(predict(seed=20), dataset, CONFIG, provenance).tables.classes
    assert classes.equals(expected)
    assert sorted(entry.name for entry in (run / "evals" / "00000020").iterdir()) == [
        "predictions.parquet",
        summary.settings,
    ]


def test_a_file_without_predictions_is_refused(dataset, provenance, tmp_path, origin_of):
    write_predictions(predictions_path(tmp_path, 20), [], origin_of(dataset))
    with pytest.raises(EvaluationError, match="received none for 5"):
        evaluate_files(tmp_path, dataset, CONFIG, provenance)
    assert summaries_of(tmp_path) == []


@pytest.mark.parametrize("what", ["dataset", "checkpoint"])
def test_predictions_of_another_origin_are_refused(dataset, provenance, tmp_path, origin_of, what):
    origin = origin_of(dataset, **{f"{what}_digest": "0123"})
    write_predictions(predictions_path(tmp_path, 20), predict(), origin)
    with pytest.raises(EvaluationError, match=rf"for the {what} of content .*, received .* 0123;"):
        evaluate_files(tmp_path, dataset, CONFIG, provenance)


def test_average_precision_by_class_and_hits(make_dataset, provenance):
    dataset = make_dataset({"a": [0], "b": [1]}, [1, 1])
    ids, scores = np.array([[0, 1], [0, 1]], np.int32), np.array([[2, 1], [3, 0]], np.float32)
    config = EvalConfig(weights=WeightsConfig(kind="uniform"))
    classes = evaluate(
        [PredictionBatch(["a", "b"], ids, scores)], dataset, config, provenance
    ).tables.classes
    assert classes.column("average_precision").to_pylist() == [0.5, 0.5]
    assert classes.column("hits").to_pylist() == [1, 1]


def test_held_out_labels_are_read_once_for_all_predictions(dataset, provenance, monkeypatch):
    expected = [evaluate(predict(seed=seed), dataset, CONFIG, provenance) for seed in (1, 2)]
    reads = []
    read_index = Dataset.read_index

    def counting(self, shard):
        reads.append(shard.path)
        return read_index(self, shard)

    monkeypatch.setattr(Dataset, "read_index", counting)
    evaluator = Evaluator(dataset, CONFIG)
    found = [evaluator.evaluate(predict(seed=seed), provenance) for seed in (1, 2)]
    assert [each.summary for each in found] == [each.summary for each in expected]
    assert all(
        one.tables.classes.equals(other.tables.classes)
        for one, other in zip(found, expected, strict=True)
    )
    assert reads == ["heldout/heldout-00000-of-00001.tfrecord"]


def test_the_tables_hold_what_the_summary_says(make_dataset, provenance, tmp_path):
    groups = {name: 0 for name in ("a.jpg", "b.jpg")} | {"c.jpg": 1, "d.jpg": 2, "e.jpg": 3}
    dataset = make_dataset(HELDOUT, COUNTS, groups=groups)
    evaluation = evaluate(predict(), dataset, CONFIG, provenance)
    summary, tables = evaluation.summary, evaluation.tables
    assert (summary.counts.near_duplicate_groups, summary.counts.parts) == (3, 3)
    write_evaluation(tmp_path, summary, tables)
    where = tmp_path, summary.provenance.step, summary.settings
    images, positives, classes = read_images(*where), read_positives(*where), read_classes(*where)
    assert images.column("near_duplicate_group").to_pylist() == [0, 0, 1, 2, 3]
    assert images.column("labels").to_pylist() == [1, 2, 3, 0, 2]
    of_images = images.column("weighted_average_precision").drop_null().to_numpy()
    assert of_images.mean() == pytest.approx(summary.scores.weighted_map_image, abs=1e-15)
    for column, value in (
        ("contribution", summary.scores.weighted_map_class),
        ("image_contribution", summary.scores.weighted_map_image),
    ):
        assert classes.column(column).to_numpy().sum() == pytest.approx(value, abs=1e-12)
    parts = read_parts(*where)
    bands = np.stack(parts.column("bands").to_numpy())
    np.testing.assert_allclose(bands.sum(axis=1), parts.column("weighted_map_class").to_numpy())
    by_class = [read_positives(*where, class_id=c) for c in range(8)]
    assert [each.num_rows for each in by_class] == classes.column("heldout_count").to_pylist()
    found = positives.column("rank").is_valid().to_numpy()
    assert found.sum() == sum(classes.column("hits").to_pylist()) < len(found)


def test_intervals_are_of_groups_and_parts(make_dataset, provenance):
    rng = np.random.default_rng(3)
    heldout = {f"{n:03d}": sorted(rng.choice(8, 3, replace=False)) for n in range(60)}
    scores = rng.random((60, 8)).astype(np.float32)
    best = np.argsort(-scores, axis=1).astype(np.int32)
    batch = PredictionBatch(list(heldout), best, np.take_along_axis(scores, best, axis=1))
    alone, grouped = (
        evaluate(
            [batch],
            make_dataset(heldout, COUNTS, groups=groups),
            CONFIG.model_copy(update={"k": 8}),
            provenance,
        ).summary
        for groups in (None, {name: int(name) // 10 for name in heldout})
    )
    assert alone.scores == grouped.scores
    for form in MetricForm:
        widths = [each.intervals[form].high - each.intervals[form].low for each in (alone, grouped)]
        assert widths[0] != widths[1]
        assert alone.headline_of(form).interval.low < alone.scores.weighted_map(form)
    one = make_dataset(heldout, COUNTS, groups=dict.fromkeys(heldout, 0))
    summary = evaluate([batch], one, CONFIG, provenance).summary
    assert {each.low for each in summary.intervals.values()} == {None}


def test_unknown_labels_are_wrong_or_left_out(make_dataset, provenance):
    """Label 0 is there, 1 was verified to be absent, of 2 nobody knows."""
    dataset = make_dataset({"a": [0], "b": [0]}, [5, 4, 3], negatives={"a": [1], "b": [1]})
    ids = np.array([[2, 0, 1], [2, 1, 0]], np.int32)
    batch = PredictionBatch(["a", "b"], ids, np.array([[3, 2, 1]] * 2, np.float32))
    values = {}
    for unknown in UnknownKind:
        config = EvalConfig(unknown=unknown, precision_at=(1,))
        values[unknown] = evaluate([batch], dataset, config, provenance).summary
    assert values[UnknownKind.NEGATIVE].scores.map_image == pytest.approx((1 / 2 + 1 / 3) / 2)
    assert values[UnknownKind.IGNORE].scores.map_image == pytest.approx((1 + 1 / 2) / 2)
    assert len({each.settings for each in values.values()}) == 2


def test_unknown_cannot_be_ignored_where_nothing_was_verified(dataset, provenance):
    with pytest.raises(EvaluationError, match=r"no absence of a label was verified.*negative"):
        evaluate(predict(), dataset, EvalConfig(unknown="ignore"), provenance)


def test_a_table_of_other_held_out_images_is_refused(make_dataset, dataset, provenance):
    other = make_dataset({f"{name}.png": ids for name, ids in HELDOUT.items()}, COUNTS)
    shutil.copy(other.root / "heldout_images.parquet", dataset.root / "heldout_images.parquet")
    with pytest.raises(EvaluationError, match=r"received 'a\.jpg\.png' in another one's place"):
        evaluate(predict(), dataset, CONFIG, provenance)
