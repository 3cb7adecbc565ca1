"""Which checkpoints an evaluation takes, and the tables of results."""

import datetime
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from manylabel.eval.config import EvalConfig, MetricForm
from manylabel.eval.settings import settings_key
from manylabel.eval.store.evaluations import (
    CLASSES_SCHEMA,
    IMAGES_SCHEMA,
    PARTS_SCHEMA,
    POSITIVES_SCHEMA,
    EvaluationTables,
    write_evaluation,
)
from manylabel.eval.store.summary import (
    DatasetReference,
    EvaluationSummary,
    Headline,
    Interval,
    Provenance,
    ScoredCounts,
    Scores,
)
from manylabel.pipeline.after_evaluation import write_events
from manylabel.pipeline.choice import Evaluated, choose_checkpoints
from manylabel.pipeline.errors import CommandError
from manylabel.pipeline.evaluate import _Evaluation
from manylabel.pipeline.runs import list_runs
from manylabel.pipeline.tables import evaluation_table
from manylabel.pipeline.terminal import Terminal
from manylabel.storage.errors import DamagedShardError
from manylabel.storage.event_file import steps_of
from manylabel.storage.tfrecord import iterate_records
from manylabel.trainer.config import TrainerConfig
from manylabel.trainer.networks.loss_config import LossKind
from manylabel.trainer.runs.checkpoint import MANIFEST, CheckpointInfo, checkpoint_path
from manylabel.trainer.runs.directory import DESCRIPTION, RunDescription
from tests._file_sizes import no_file_larger_than

INTERVALS = {form: Interval(standard_error=0.01, low=0.2812, high=0.3199) for form in MetricForm}
EMPTY = EvaluationTables(
    CLASSES_SCHEMA.empty_table(),
    IMAGES_SCHEMA.empty_table(),
    POSITIVES_SCHEMA.empty_table(),
    PARTS_SCHEMA.empty_table(),
)
NOON = datetime.datetime(2026, 1, 2, 12, tzinfo=datetime.UTC)
CHECKPOINTS = [
    CheckpointInfo(step, step * 32, Path(str(step)), f"{step}", "d" * 64) for step in (0, 100, 250)
]


def scores(value):
    return Scores(
        weighted_map_image=value / 2,
        weighted_map_class=value,
        map_image=value / 3,
        map_class=value / 4,
        recall=0.75,
        precision={1: 0.5, 5: 0.25},
    )


def summary(step, value, baseline=0.2):
    config = EvalConfig(precision_at=(1, 5))
    return EvaluationSummary(
        headline=Headline.of(config.form, config.k, scores(value), scores(baseline), INTERVALS),
        settings=settings_key(config, np.ones(7)),
        provenance=Provenance(
            run="run",
            checkpoint=f"run/checkpoints/{step}",
            checkpoint_digest=f"{step}",
            step=step,
            samples=step * 32,
            code_version="1",
            evaluated_at=NOON,
        ),
        dataset=DatasetReference(root="dataset", content_digest="d" * 64),
        config=config,
        counts=ScoredCounts(
            images=1234,
            images_without_labels=0,
            images_without_weight=0,
            labels=9,
            classes=7,
            classes_with_images=7,
            near_duplicate_groups=1200,
            parts=100,
        ),
        scores=scores(value),
        baseline=scores(baseline),
        intervals=INTERVALS,
    )


def printed(table):
    console = Console(width=80)
    with console.capture() as capture:
        console.print(table)
    return capture.get()


def test_a_damaged_heldout_shard_is_named_before_a_network_is_made(
    make_dataset, lfs_pointer, tmp_path
):
    dataset = make_dataset({"a.jpg": [0]}, [1])
    shard = dataset.root / "heldout/heldout-00000-of-00001.tfrecord"
    shard.write_bytes(lfs_pointer)
    loss = LossKind.SIGMOID
    evaluation = _Evaluation(tmp_path / "run", dataset, EvalConfig(), loss, lambda event: None)
    with pytest.raises(DamagedShardError, match=rf"{shard}: .* a Git LFS pointer"):
        _ = evaluation._predictor


class FakeEvaluated(Evaluated):
    """Steps 0 and 100 have evaluations, and the better value is the first one's."""

    def __init__(self):
        pass

    def find(self, checkpoint):
        return {0: summary(0, 0.3), 100: summary(100, 0.2)}.get(checkpoint.step)


def choose(found, step):
    return choose_checkpoints(found, step, FakeEvaluated(), MetricForm.CLASS)


@pytest.mark.parametrize(
    ("step", "chosen"),
    [
        ("all", [0, 100, 250]),
        ("latest", [250]),
        ("100", [100]),
        ("0", [0]),
        ("new", [250]),
        ("best", [0]),
    ],
)
def test_checkpoints_are_chosen(step, chosen):
    assert [info.step for info in choose(CHECKPOINTS, step)] == chosen


@pytest.mark.parametrize("step", ["99", "first", "", "-1"])
def test_an_unknown_step_names_those_there_are(step):
    with pytest.raises(CommandError, match="expected latest, best, new, all or one of 0, 100, 250"):
        choose(CHECKPOINTS, step)


def test_a_run_without_a_checkpoint():
    with pytest.raises(CommandError, match="train it first"):
        choose([], "latest")


def test_the_table_of_evaluations_ends_with_the_baseline():
    text = printed(evaluation_table([summary(0, 0.05), summary(1_000_000, 0.3)]))
    rows = [line.split() for line in text.splitlines()]
    assert "weighted MAP@100 (class form), training_share weights" in text
    assert "1,234 held-out images in 1,200 near-duplicate groups" in text
    newest = ["1,000,000", "32,000,000", "0.3000", "0.281–0.320", "1.50", "0.150", "1.50"]
    assert [*newest, "0.750", "0.500"] in rows
    assert ["baseline", "0.2000", "1.00", "0.100", "1.00", "0.750", "0.500"] in rows
    assert "…" not in text


def test_a_baseline_of_zero_has_no_ratio():
    assert "–" in printed(evaluation_table([summary(0, 0.05, baseline=0.0)]))


def make_run(path, day=0, dataset="dataset", digest="d" * 64):
    description = RunDescription(
        dataset=dataset,
        dataset_digest=digest,
        dataset_settings={},
        labels_digest="",
        num_classes=17_000,
        code_version="1",
        created=NOON + datetime.timedelta(days=day),
        trainer=TrainerConfig(),
    )
    path.mkdir()
    description.write(path / DESCRIPTION)


def listed(root):
    console = Console(width=80)
    with console.capture() as capture:
        Terminal(console).show_runs(root, list_runs(root))
    return capture.get()


def rows_of(text):
    return [line.split() for line in text.splitlines()]


def test_runs_are_listed_newest_first(tmp_path):
    for day, name in enumerate(["older", "newer"]):
        make_run(tmp_path / name, day)
    for step, value in ((100, 0.1), (250, 0.3)):
        write_evaluation(tmp_path / "older", summary(step, value), EMPTY)
    (tmp_path / "no-run").mkdir()

    text = listed(tmp_path)
    rows = rows_of(text)
    newer = ["newer", "2026-01-03", "17,000", "–", "–", "–", "–", "–"]
    older = ["older", "2026-01-02", "17,000", "–", "250", "0.3000", "1.50", "share"]
    assert rows.index(newer) < rows.index(older)
    assert "…" not in text


def test_a_broken_run_hides_no_other(tmp_path):
    for name in ("sound", "newer", "cut-short"):
        make_run(tmp_path / name)
    (tmp_path / "cut-short" / DESCRIPTION).write_text("{")
    write_evaluation(tmp_path / "sound", summary(100, 0.1), EMPTY)
    directory = write_evaluation(tmp_path / "cut-short", summary(100, 0.1), EMPTY)
    (directory / "summary.json").write_text('{"format_version": 3}')
    manifest = checkpoint_path(tmp_path / "newer", 100) / MANIFEST
    manifest.parent.mkdir(parents=True)
    manifest.write_text('{"format_version": 99}')

    text = listed(tmp_path)
    rows = rows_of(text)
    assert ["sound", "2026-01-02", "17,000", "–", "100", "0.1000", "0.50", "share"] in rows
    assert ["newer", "2026-01-02", "17,000", "?", "–", "–", "–", "–"] in rows
    assert ["cut-short", "?", "?", "–", "?", "?", "?", "?"] in rows
    problems = [line for line in text.splitlines() if line.startswith("? ")]
    assert len(problems) == 3
    assert "manifest of format version 2, received version 99" in "".join(problems)
    assert "not a run description" in "".join(problems)
    assert "not an evaluation summary" in "".join(problems)


def test_names_are_shown_as_they_are(tmp_path):
    make_run(tmp_path / "a[lr=1]")
    assert rows_of(listed(tmp_path))[-2][0] == "a[lr=1]"


def test_a_point_for_which_there_was_no_room_comes_with_the_next_evaluation(tmp_path):
    made = [summary(step, 0.3) for step in (0, 100, 250)]
    folder = tmp_path / "tensorboard" / made[0].settings
    write_events(tmp_path, made[:1], [])
    with no_file_larger_than(100), pytest.raises(OSError, match="File too large") as caught:
        write_events(tmp_path, made[1:2], made[:1])
    assert str(caught.value.filename).startswith(str(folder))
    assert steps_of(folder) == {0}
    write_events(tmp_path, made[2:], made[:2])
    assert steps_of(folder) == {0, 100, 250}
    files = len(list(folder.iterdir()))
    write_events(tmp_path, [], made)
    assert len(list(folder.iterdir())) == files


def test_a_point_costs_the_same_however_many_there_are(tmp_path, monkeypatch):
    made = [summary(step, 0.3) for step in range(60)]
    folder = tmp_path / "tensorboard" / made[0].settings
    read = []

    def noted(path):
        read.append(path)
        return iterate_records(path)

    monkeypatch.setattr("manylabel.storage.event_file.iterate_records", noted)
    for number, each in enumerate(made):
        write_events(tmp_path, [each], made[:number])
    assert len(read) <= 20 * len(made)
    for path in folder.iterdir():
        path.unlink()
    write_events(tmp_path, [], made)
    assert steps_of(folder) == set(range(60)), "all that is missing comes at once"
