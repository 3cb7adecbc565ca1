"""Schedules as users run them: beside a training that writes checkpoints and keeps one of them, and
killed while they evaluate."""

import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from manylabel.eval.schedule.config import ScheduleConfig, Steps
from manylabel.eval.schedule.records import FireRecord, Outcome
from manylabel.eval.schedule.store import FireStore
from manylabel.eval.store.evaluations import read_summaries
from manylabel.pipeline.schedule_runs import run_facts, step_of
from manylabel.storage.dataset import Dataset
from manylabel.storage.pins import read_pins
from manylabel.trainer.runs.checkpoint import list_checkpoints

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

DEADLINE = 280  # seconds; a busy machine takes many times what an idle one does
EVERY = ScheduleConfig(when="new_checkpoint", retries=10)
COMMAND = str(Path(sys.executable).with_name("manylabel"))


@dataclass(frozen=True)
class Trained:
    """A root whose run was trained while `schedule serve` was at work.

    Attributes:
        seen: Steps of all checkpoints that the training wrote.
        exit_code: Of serve, which was told to stop when it had nothing to do.
        printed: By serve.
    """

    root: Path
    seen: frozenset[int]
    exit_code: int
    printed: str


def write_schedules(root: Path) -> None:
    root.mkdir(exist_ok=True)
    every = EVERY.model_dump(mode="json", include={"when", "retries"})
    settings = {"interval": "1s", "schedules": {"every": every}}
    (root / "schedules.yaml").write_text(yaml.safe_dump(settings))


def start(*arguments: str, log: Path) -> subprocess.Popen[bytes]:
    with log.open("ab") as file:
        return subprocess.Popen([COMMAND, *arguments], stdout=file, stderr=file)


def fires(root: Path) -> list[FireRecord]:
    return FireStore(root).fires("every", EVERY)


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert process.poll() is None, f"it ended too early:\n{log.read_text()}"
        assert time.monotonic() < deadline, f"nothing in {DEADLINE} s:\n{log.read_text()}"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def trained(
    clipart_dataset: Dataset, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Trained]:
    folder = tmp_path_factory.mktemp("scheduled")
    root, run = folder / "runs", folder / "runs" / "first"
    write_schedules(root)
    (folder / "settings.yaml").write_text(
        yaml.safe_dump(
            {
                "preprocessing": {"catalog": {"path": "unused.csv"}},
                "trainer": {
                    "model": {"input_size": 32, "width": 0.125, "middle_repeats": 0},
                    "input": {"batch_size": 8, "decode_threads": 1},
                    "epochs": 3,
                    "topology": {"workers": 1, "parameter_shards": 1},
                    "checkpoints": {"every_samples": 120, "keep": 1},
                },
            }
        )
    )
    log = folder / "log.txt"
    serving = start("schedule", "serve", str(root), log=log)
    training = start(
        *("train", str(folder / "settings.yaml"), "--dataset", str(clipart_dataset.root)),
        *("--run", str(run)),
        log=folder / "training.txt",
    )
    try:
        seen: set[int] = set()
        while training.poll() is None:
            seen |= {int(path.name) for path in run.glob("checkpoints/[0-9]*")}
            assert serving.poll() is None, log.read_text()
            time.sleep(0.02)
        assert training.returncode == 0, (folder / "training.txt").read_text()
        seen |= {info.step for info in list_checkpoints(run)}
        wait_until(lambda: all_done(root, seen), serving, log)
        time.sleep(0.3)  # Between two looks it is told to stop while nothing is at work.
        serving.send_signal(signal.SIGTERM)
        exit_code = serving.wait(DEADLINE)
        yield Trained(root, frozenset(seen), exit_code, log.read_text())
    finally:
        for process in (training, serving):
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                process.wait(DEADLINE)


def all_done(root: Path, steps: set[int]) -> bool:
    done = {fire.step for fire in fires(root) if fire.outcome is Outcome.DONE}
    return done >= steps


def test_each_checkpoint_of_a_training_is_evaluated_once(trained: Trained):
    assert len(trained.seen) >= 5
    done = Counter(fire.step for fire in fires(trained.root))
    assert done == Counter(dict.fromkeys(trained.seen, 1))
    assert {fire.outcome for fire in fires(trained.root)} == {Outcome.DONE}
    for fire in fires(trained.root):
        (evaluation,) = fire.evaluations
        assert (evaluation.run, evaluation.step, evaluation.new) == ("first", fire.step, True)
    summaries = read_summaries(trained.root / "first", lambda error: pytest.fail(str(error)))
    digests = {fire.step: fire.checkpoint_digest for fire in fires(trained.root)}
    assert {
        summary.provenance.step: summary.provenance.checkpoint_digest for summary in summaries
    } == digests


def test_retention_goes_on_when_a_checkpoint_is_evaluated(trained: Trained):
    """`keep: 1` alone would have removed most of them before they were evaluated."""
    assert read_pins(trained.root / "first").after == max(trained.seen)
    assert len(list_checkpoints(trained.root / "first")) < len(trained.seen)


def test_what_has_an_evaluation_is_not_new_to_a_schedule_without_records(trained: Trained):
    run = trained.root / "first"
    steps = [info.step for info in list_checkpoints(run)]
    facts = run_facts(run, EVERY, (), pytest.fail)
    assert facts is not None
    assert [(each.step, each.evaluated) for each in facts.checkpoints] == [
        (step, True) for step in steps
    ]
    other = EVERY.model_copy(update={"overrides": ("eval.weights.kind=uniform",)})
    facts = run_facts(run, other, (), pytest.fail)
    assert facts is not None
    assert not any(each.evaluated for each in facts.checkpoints)


def test_the_best_checkpoint_is_the_best_of_those_there_are(trained: Trained):
    run = trained.root / "first"
    values = {
        summary.provenance.step: summary.headline.value
        for summary in read_summaries(run, lambda error: pytest.fail(str(error)))
    }
    best = max((info.step for info in list_checkpoints(run)), key=values.__getitem__)
    config = ScheduleConfig(when="0 2 * * *", steps=Steps.BEST, overrides=("eval.k=3",))
    assert step_of(run, config) == str(best)


def test_serve_ends_cleanly_when_nothing_is_at_work(trained: Trained):
    assert trained.exit_code == 0, trained.printed
    assert "Traceback" not in trained.printed
    for step in trained.seen:
        assert f"every: step {step:,} of first is new" in trained.printed
        assert f"every: done, first@{step}" in trained.printed


def test_killed_while_it_evaluates_and_run_again_the_end_is_the_same(
    trained: Trained, tmp_path: Path
):
    newest = list_checkpoints(trained.root / "first")[-1].step
    root = tmp_path / "runs"
    write_schedules(root)
    shutil.copytree(
        trained.root / "first",
        root / "first",
        ignore=shutil.ignore_patterns("evals", "history", "kept", "tensorboard"),
    )
    others = [info for info in list_checkpoints(root / "first") if info.step != newest]
    for info in others:
        shutil.rmtree(info.path)
    evaluation = root / "first" / "evals" / f"{newest:08d}"
    moments: list[tuple[Callable[[], bool], signal.Signals, int]] = [
        (lambda: bool(fires(root)), signal.SIGKILL, -9),
        (lambda: any(evaluation.glob("predictions.parquet.*.tmp")), signal.SIGTERM, 130),
        (lambda: any(evaluation.glob("predictions.parquet.*.tmp")), signal.SIGKILL, -9),
        (lambda: (evaluation / "predictions.parquet").exists(), signal.SIGKILL, -9),
    ]
    log = tmp_path / "log.txt"
    for moment, number, exit_code in moments:
        process = start("schedule", "run-due", str(root), log=log)
        wait_until(moment, process, log)
        process.send_signal(number)
        assert process.wait(DEADLINE) == exit_code, log.read_text()
    assert "every: stopped; the next run-due goes on from there" in log.read_text()
    assert start("schedule", "run-due", str(root), log=log).wait(DEADLINE) == 0, log.read_text()

    (fire,) = fires(root)
    assert (fire.outcome, fire.attempt, fire.failures) == (Outcome.DONE, 5, 3)
    assert [each.new for each in fire.evaluations] == [True]
    (summary,) = read_summaries(root / "first", lambda error: pytest.fail(str(error)))
    undisturbed = read_summaries(trained.root / "first", lambda error: None)[-1]
    assert summary.provenance.checkpoint_digest == undisturbed.provenance.checkpoint_digest
    assert summary.headline.value == pytest.approx(undisturbed.headline.value, rel=1e-5)
    assert read_pins(root / "first").after == newest

    listed = subprocess.run(
        [COMMAND, "schedule", "list", str(root)], capture_output=True, text=True, check=True
    ).stdout
    assert f"done, first@{newest}: process" in listed
    assert "died; attempt 5" in listed
    assert f"next  no new checkpoint (first from step {newest + 1:,} on)" in listed
