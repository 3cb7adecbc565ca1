"""Evaluations of a run side by side, and each of its labels over training."""

import numpy as np
import pytest

from manylabel.eval.config import EvalConfig, MetricForm
from manylabel.eval.history import build_history
from manylabel.eval.job import Evaluator
from manylabel.eval.statistics.bands import band_of
from manylabel.eval.store.evaluations import evaluation_directory, read_classes, write_evaluation
from manylabel.eval.store.history import (
    histories,
    read_history,
    read_label_history,
)
from manylabel.eval.store.names import EvaluationName
from manylabel.eval.store.predictions import PredictionBatch
from manylabel.storage.errors import TableError

CLASSES = 12
IMAGES = 150
COUNTS = [5000, 2000, 700, 400, 200, 120, 80, 40, 20, 10, 5, 1]


def refuse(error):
    raise error


@pytest.fixture
def heldout():
    rng = np.random.default_rng(5)
    odds = np.array(COUNTS) / sum(COUNTS)
    return {
        f"{n:03d}": sorted(rng.choice(CLASSES - 1, 3, replace=False, p=odds[:-1] / odds[:-1].sum()))
        for n in range(IMAGES)
    }


@pytest.fixture
def dataset(make_dataset, heldout):
    return make_dataset(heldout, COUNTS, groups={name: int(name) // 2 for name in heldout})


@pytest.fixture
def evaluated(dataset, heldout, provenance, tmp_path):
    """evaluated(run, step, skill): an evaluation whose rankings are the better the more skill."""
    evaluator = Evaluator(dataset, EvalConfig(precision_at=(1,)))

    def evaluate(run, step, skill, seed=0):
        rng = np.random.default_rng(seed)
        noise = rng.normal(size=(IMAGES, CLASSES))
        truth = np.zeros((IMAGES, CLASSES))
        for row, ids in enumerate(heldout.values()):
            truth[row, ids] = 1
        scores = (skill * truth + noise).astype(np.float32)
        best = np.argsort(-scores, axis=1).astype(np.int32)
        batch = PredictionBatch(list(heldout), best, np.take_along_axis(scores, best, axis=1))
        at = provenance.model_copy(
            update={"step": step, "samples": 32 * step, "checkpoint_digest": f"{run}{step}"}
        )
        result = evaluator.evaluate([batch], at)
        write_evaluation(tmp_path / run, result.summary, result.tables)
        return result.summary

    return evaluate


def test_the_history_has_every_evaluation_and_what_it_cannot_be_told_from(evaluated, tmp_path):
    summaries = [evaluated("run", step, skill) for step, skill in ((9, 1.0), (5, 0.2), (20, 3.0))]
    twin = evaluated("run", 21, 3.0)
    settings = twin.settings
    build_history(tmp_path, "run", settings, None, refuse)
    assert histories(tmp_path / "run") == [settings]
    history = read_history(tmp_path / "run", settings)
    assert (history.champion, history.missing) == (None, ())
    table = history.evaluations.to_pydict()
    assert table["step"] == [5, 9, 20, 21]
    assert table["samples"] == [160, 288, 640, 672]
    by_step = {each.provenance.step: each for each in (*summaries, twin)}
    for form in MetricForm:
        expected = [by_step[step].scores.weighted_map(form) for step in table["step"]]
        assert table[f"{form}_value"] == expected
        assert table[f"{form}_low"] == [by_step[s].intervals[form].low for s in table["step"]]
        assert table[f"{form}_undistinguished"] == [False, False, True, True]
        assert table[f"{form}_champion_difference"] == [None] * 4


def test_the_bands_are_weighted_means_of_their_labels(evaluated, tmp_path):
    summary = evaluated("run", 9, 1.0)
    build_history(tmp_path, "run", summary.settings, None, refuse)
    (bands,) = read_history(tmp_path / "run", summary.settings).evaluations["bands"].to_pylist()
    classes = read_classes(tmp_path / "run", 9, summary.settings).to_pylist()
    for band, value in enumerate(bands):
        own = [
            each
            for each, number in zip(classes, band_of(np.array(COUNTS)), strict=True)
            if number == band and each["heldout_count"]
        ]
        weight = sum(each["weight"] for each in own)
        mean = sum(each["weight"] * each["average_precision"] for each in own) / weight
        assert value == pytest.approx(mean)


def test_differences_are_from_the_champion_of_whichever_run(evaluated, tmp_path):
    better, champion = evaluated("run", 9, 2.0), evaluated("other", 7, 1.0)
    same = evaluated("run", 3, 1.0)
    settings = better.settings
    build_history(tmp_path, "run", settings, EvaluationName("other", 7), refuse)
    history = read_history(tmp_path / "run", settings)
    assert history.champion == EvaluationName("other", 7)
    of_same, of_better = history.evaluations.to_pylist()
    for form in MetricForm:
        assert of_same[f"{form}_champion_difference"] == 0
        difference = better.scores.weighted_map(form) - champion.scores.weighted_map(form)
        assert of_better[f"{form}_champion_difference"] == pytest.approx(difference, abs=1e-12)
        assert 0 < of_better[f"{form}_champion_low"] < difference
    assert same.settings == settings


def test_a_champion_on_other_held_out_images_is_not_compared(
    evaluated, make_dataset, tmp_path, provenance
):
    summary = evaluated("run", 9, 2.0)
    other = make_dataset({"a": [0], "b": [1]}, COUNTS)
    ids = np.tile(np.arange(CLASSES, dtype=np.int32), (2, 1))
    batch = PredictionBatch(["a", "b"], ids, -ids.astype(np.float32))
    result = Evaluator(other, EvalConfig(precision_at=(1,))).evaluate([batch], provenance)
    assert result.summary.settings == summary.settings
    write_evaluation(tmp_path / "other", result.summary, result.tables)
    build_history(tmp_path, "run", summary.settings, EvaluationName("other", 20), refuse)
    (row,) = read_history(tmp_path / "run", summary.settings).evaluations.to_pylist()
    assert row["class_champion_difference"] is row["image_champion_low"] is None


def test_a_label_has_its_own_history(evaluated, tmp_path):
    _, settings = (evaluated("run", step, step / 10).settings for step in (5, 9))
    build_history(tmp_path, "run", settings, None, refuse)
    for class_id in range(CLASSES):
        history = read_label_history(tmp_path / "run", settings, class_id).to_pylist()
        expected = []
        for step in (5, 9):
            row = read_classes(tmp_path / "run", step, settings).to_pylist()[class_id]
            if row["average_precision"] is not None:
                names = ("average_precision", "hits", "heldout_count")
                expected.append({"class_id": class_id, "step": step} | {n: row[n] for n in names})
        assert history == expected
    assert expected == []  # No held-out image has the last one.


@pytest.mark.parametrize("name", ["images", "parts", "classes", "summary"])
def test_a_damaged_evaluation_is_told_and_the_others_are_there(evaluated, tmp_path, name):
    _, settings = (evaluated("run", step, 1.0).settings for step in (5, 9))
    (path,) = evaluation_directory(tmp_path / "run", 5, settings).glob(f"{name}.*")
    path.write_bytes(path.read_bytes()[:-20])
    problems: list[Exception] = []
    build_history(tmp_path, "run", settings, None, problems.append)
    history = read_history(tmp_path / "run", settings)
    assert history.evaluations.column("step").to_pylist() == [9]
    assert history.missing == (5,)
    (problem,) = problems
    assert str(path) in str(problem)


def test_a_missing_or_damaged_history_names_what_makes_it_again(evaluated, tmp_path):
    settings = evaluated("run", 5, 1.0).settings
    run = tmp_path / "run"
    with pytest.raises(TableError, match=r"no such file.*`manylabel evaluate .*run --step new`"):
        read_history(run, settings)
    build_history(tmp_path, "run", settings, None, refuse)
    for name, read in (
        ("evaluations", lambda: read_history(run, settings)),
        ("classes", lambda: read_label_history(run, settings, 0)),
    ):
        path = run / "history" / settings / f"{name}.parquet"
        path.write_bytes(path.read_bytes()[:50])
        with pytest.raises(TableError, match=r"not a readable Parquet.*--step new` makes it again"):
            read()


def test_a_run_without_evaluations_gets_no_history(tmp_path):
    build_history(tmp_path, "run", "uniform-0", None, refuse)
    assert list(tmp_path.iterdir()) == []


def test_evaluations_on_another_dataset_than_the_newest_are_left_out(
    evaluated, make_dataset, tmp_path, provenance
):
    """A folder of scored predictions may hold them."""
    other = make_dataset({"a": [0], "b": [1]}, COUNTS)
    ids = np.tile(np.arange(CLASSES, dtype=np.int32), (2, 1))
    batch = PredictionBatch(["a", "b"], ids, -ids.astype(np.float32))
    early = provenance.model_copy(
        update={"evaluated_at": provenance.evaluated_at.replace(year=1999)}
    )
    result = Evaluator(other, EvalConfig(precision_at=(1,))).evaluate([batch], early)
    write_evaluation(tmp_path / "run", result.summary, result.tables)
    settings = evaluated("run", 9, 2.0).settings
    problems: list[Exception] = []
    build_history(tmp_path, "run", settings, None, problems.append)
    assert read_history(tmp_path / "run", settings).evaluations["step"].to_pylist() == [9]
    assert "step 20: left out of the history" in str(problems[0])
