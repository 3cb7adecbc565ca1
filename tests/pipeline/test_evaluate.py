"""Which checkpoints an evaluation takes, and the tables of results."""

import datetime
from pathlib import Path

import pytest
from rich.console import Console

from eval.config import EvalConfig
from eval.store import CLASSES_SCHEMA, write_evaluation
from eval.summary import Counts, DatasetReference, EvaluationSummary, Provenance, Scores
from pipeline.errors import CommandError
from pipeline.evaluate import choose_checkpoints
from pipeline.runs import show_runs
from pipeline.tables import evaluation_table
from trainer.checkpoint import CheckpointInfo
from trainer.config import TrainerConfig
from trainer.run_directory import DESCRIPTION, RunDescription

NOON = datetime.datetime(2026, 1, 2, 12, tzinfo=datetime.UTC)
CHECKPOINTS = [CheckpointInfo(step, step * 32, Path(str(step))) for step in (0, 100, 250)]


def scores(value):
    return Scores(
        weighted_map_image=value,
        weighted_map_class=value / 2,
        map_image=value / 3,
        map_class=value / 4,
        recall=0.75,
        precision={1: 0.5, 5: 0.25},
    )


def summary(step, value, baseline=0.2):
    return EvaluationSummary(
        provenance=Provenance(
            run="run",
            checkpoint=f"run/checkpoints/{step}",
            step=step,
            samples=step * 32,
            code_version="1",
            evaluated_at=NOON,
        ),
        dataset=DatasetReference(root="dataset", fingerprint="f" * 64),
        config=EvalConfig(precision_at=(1, 5)),
        counts=Counts(
            images=1234,
            images_without_labels=0,
            images_without_weight=0,
            labels=9,
            classes=7,
            classes_with_images=7,
        ),
        scores=scores(value),
        baseline=scores(baseline),
    )


def printed(table):
    console = Console(width=80)
    with console.capture() as capture:
        console.print(table)
    return capture.get()


@pytest.mark.parametrize(
    ("step", "chosen"), [("all", [0, 100, 250]), ("latest", [250]), ("100", [100]), ("0", [0])]
)
def test_checkpoints_are_chosen(step, chosen):
    assert [info.step for info in choose_checkpoints(CHECKPOINTS, step)] == chosen


@pytest.mark.parametrize("step", ["99", "first", "", "-1"])
def test_an_unknown_step_names_those_there_are(step):
    with pytest.raises(CommandError, match="expected latest, all or one of 0, 100, 250"):
        choose_checkpoints(CHECKPOINTS, step)


def test_a_run_without_a_checkpoint():
    with pytest.raises(CommandError, match="train it first"):
        choose_checkpoints([], "latest")


def test_the_table_of_evaluations_ends_with_the_baseline():
    text = printed(evaluation_table([summary(0, 0.05), summary(1_000_000, 0.3)]))
    rows = [line.split() for line in text.splitlines()]
    assert "weighted MAP@100 (image form), training_log_count weights" in text
    assert "1,234 held-out images" in text
    newest = ["1,000,000", "32,000,000", "0.3000", "1.50", "0.100", "0.750", "0.500", "0.250"]
    assert newest in rows
    assert ["baseline", "0.2000", "1.00", "0.067", "0.750", "0.500", "0.250"] in rows
    assert "…" not in text


def test_a_baseline_of_zero_has_no_ratio():
    assert "–" in printed(evaluation_table([summary(0, 0.05, baseline=0.0)]))


def test_runs_are_listed_newest_first(tmp_path):
    for day, name in enumerate(["older", "newer"]):
        description = RunDescription(
            dataset="dataset",
            dataset_fingerprint="f" * 64,
            num_classes=17_000,
            code_version="1",
            created=NOON + datetime.timedelta(days=day),
            trainer=TrainerConfig(),
        )
        (tmp_path / name).mkdir()
        (tmp_path / name / DESCRIPTION).write_text(description.model_dump_json())
    for step, value in ((100, 0.1), (250, 0.3)):
        write_evaluation(tmp_path / "older", summary(step, value), CLASSES_SCHEMA.empty_table())
    (tmp_path / "no-run").mkdir()

    console = Console(width=80)
    with console.capture() as capture:
        show_runs(tmp_path, console)
    rows = [line.split() for line in capture.get().splitlines()]
    assert rows[-3:-1] == [
        ["newer", "2026-01-03", "17,000", "–", "–", "–", "–", "–"],
        ["older", "2026-01-02", "17,000", "–", "–", "250", "0.3000", "1.50"],
    ]
