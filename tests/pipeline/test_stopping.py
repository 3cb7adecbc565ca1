"""Commands that are told to stop while they work: exit code 130, and one line."""

import os
import signal
import sys
from types import ModuleType

import pytest

from manylabel.pipeline import cli, evaluate
from manylabel.pipeline import export as export_stage
from manylabel.storage import stop_signals
from manylabel.storage.jobs import JobStage, JobState, JobStatus, status_path
from manylabel.storage.stop_signals import STOP_SIGNALS

TOLD = [pytest.param(number, id=number.name) for number in STOP_SIGNALS]


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    """For the rest of the same request."""
    monkeypatch.setattr(stop_signals, "_ONE_REQUEST_SECONDS", 0.01)


@pytest.fixture
def status(tmp_path):
    return lambda: JobStatus.read(status_path(tmp_path, JobStage.EXPORT))


@pytest.fixture
def exporting(tmp_path, monkeypatch):
    """Takes the place of what loads TensorFlow: exporting(work), called as `export` is."""

    def use(work, gpus=0):
        for name, attributes in (
            ("manylabel.deploy.export", {"export": work}),
            ("manylabel.trainer.predict", {"gpus_held": lambda: gpus}),
        ):
            module = ModuleType(name)
            vars(module).update(attributes)
            monkeypatch.setitem(sys.modules, name, module)

    monkeypatch.setattr(export_stage, "open_run", lambda run: None)
    monkeypatch.setattr(export_stage, "meant_checkpoint", lambda place, step: (tmp_path, step))
    return use


@pytest.mark.parametrize("told", TOLD)
def test_a_stopped_evaluation_says_how_it_goes_on(told, tmp_path, monkeypatch, capsys):
    def work(*arguments):
        os.kill(os.getpid(), told)
        signal.pause()

    monkeypatch.setattr(evaluate, "evaluate_run", work)
    assert cli.run(["evaluate", str(tmp_path)]) == 130
    told_user = capsys.readouterr().err
    assert told_user == "stopped; the same command goes on with what is not evaluated yet\n"


def test_a_library_that_makes_an_error_of_it_while_it_is_imported(tmp_path, monkeypatch, capsys):
    """As extension modules do."""

    def work(*arguments):
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            signal.pause()
        except KeyboardInterrupt as stop:
            raise ImportError("initialization failed") from stop

    monkeypatch.setattr(evaluate, "evaluate_run", work)
    assert cli.run(["evaluate", str(tmp_path)]) == 130
    assert capsys.readouterr().err.startswith("stopped; ")


@pytest.mark.parametrize("told", TOLD)
@pytest.mark.parametrize(
    ("is_described", "line"),
    [
        (False, "stopped before training began; the same command begins anew\n"),
        (True, "stopped between updates; the same command goes on from what is saved\n"),
    ],
)
def test_training_that_is_stopped_before_its_workers_are_at_work(
    is_described, line, told, tmp_path, monkeypatch, capsys
):
    """As while the first weights are made, or Ray starts: also of a run that goes on."""
    monkeypatch.chdir(tmp_path)

    def work(config, dataset, run, *, on_doing, **options):
        run.mkdir(exist_ok=True)
        if is_described:
            (run / "run.json").touch()
        on_doing("making the first weights")
        os.kill(os.getpid(), told)
        signal.pause()

    monkeypatch.setattr("manylabel.pipeline.train.train", work)
    monkeypatch.setattr("manylabel.pipeline.train.Dataset.open", lambda root: None)
    assert cli.run(["train", "demo", "--dataset", "dataset", "--run", "run"]) == 130
    shown = capsys.readouterr()
    assert shown.err == line
    assert shown.out == "train: making the first weights\n"


@pytest.mark.parametrize(
    ("stage", "arguments"),
    [
        ("score.score_predictions", ["score", "p.parquet", "--dataset", "d"]),
        ("predict.predict_labels", ["predict", "model", "images"]),
        ("review.review_run", ["review", "run", "1"]),
        ("promote.promote", ["promote", "run", "--step", "1", "--reason", "good"]),
        ("demo.run_demo", ["demo"]),
    ],
)
def test_a_command_that_writes_removes_what_is_half_done_and_says_a_line(
    stage, arguments, monkeypatch, capsys
):
    removed = []

    def work(*arguments):
        try:
            os.kill(os.getpid(), signal.SIGHUP)
            signal.pause()
        finally:
            removed.append("half done")

    monkeypatch.setattr(f"manylabel.pipeline.{stage}", work)
    assert cli.run(arguments) == 130
    told_user = capsys.readouterr().err
    assert told_user.startswith("stopped")
    assert told_user.count("\n") == 1
    assert removed == ["half done"]


@pytest.mark.parametrize("told", TOLD)
def test_a_stopped_export_says_how_it_goes_on(told, exporting, status, tmp_path, capsys):
    def work(*arguments, **options):
        os.kill(os.getpid(), told)
        signal.pause()

    exporting(work)
    assert cli.run(["export", str(tmp_path), "--output", str(tmp_path / "model")]) == 130
    told_user = capsys.readouterr().err
    assert told_user == "stopped, and nothing is written; the same command begins anew\n"
    assert status().state is JobState.STOPPED


def test_an_export_is_heard_of_while_it_works(exporting, status, tmp_path):
    seen = []

    def work(run, output, **options):
        seen.append(status())
        return output

    exporting(work, gpus=1)
    export_stage.export_run(tmp_path, tmp_path / "model", None, 5)
    assert (seen[0].state, seen[0].doing, seen[0].gpus) == (JobState.RUNNING, "exporting", 1.0)
    assert status().state is JobState.DONE
