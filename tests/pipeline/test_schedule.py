"""The stages of schedules, with a recorder in place of evaluations and a clock that is set.

What is on disk is real. A look at the schedules is one call: what one call leaves behind is all
that the next one knows.
"""

import datetime
import os
import shlex
import signal
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from manylabel.eval.errors import EvaluationError
from manylabel.eval.schedule.config import read_schedules
from manylabel.eval.schedule.records import FireAction, FireRecord, Outcome
from manylabel.eval.schedule.status import schedule_statuses
from manylabel.eval.schedule.store import FireStore
from manylabel.eval.statistics.differences import Verdict
from manylabel.pipeline import events, schedule_runs
from manylabel.pipeline.errors import CommandError, EvaluationBusyError, Interrupted
from manylabel.pipeline.schedule import list_schedules, run_due, serve
from manylabel.pipeline.schedule_fire import Surroundings
from manylabel.storage.pins import read_pins
from manylabel.trainer.runs.checkpoint import CheckpointInfo

TWO = datetime.datetime(2026, 5, 4, 2, tzinfo=datetime.UTC)
MINUTE = datetime.timedelta(minutes=1)
HOUR = 60 * MINUTE


class World:
    """A root with runs, a clock, and an evaluator that counts."""

    def __init__(self, root, monkeypatch):
        self.root = root
        self.now = TWO - HOUR
        self.host = "here"
        self.told = []
        self.evaluated: Counter[tuple] = Counter()
        self.made_at = {}
        self.trouble = lambda run, step: None  # May raise, or let time pass.
        self.verdicts = {}
        self.reviewed = []
        # Checkpoints are empty folders here: 32 bytes of manifest say nothing about schedules.
        monkeypatch.setattr(schedule_runs, "list_checkpoints", self.checkpoints)
        monkeypatch.setattr(schedule_runs, "_evaluated", lambda run, checkpoints, overrides: set())

    def settings(self, text):
        (self.root / "schedules.yaml").write_text(text)

    def checkpoint(self, run, *steps):
        folder = self.root / run / "checkpoints"
        folder.mkdir(parents=True, exist_ok=True)
        for step in steps:
            (folder / f"{step:08d}").mkdir()
        (self.root / run / "run.json").touch()

    def checkpoints(self, run, on_damaged=None):
        return [
            CheckpointInfo(int(path.name), 0, path, f"{run.name}{path.name}", "d")
            for path in sorted((run / "checkpoints").iterdir())
        ]

    def surroundings(self):
        return Surroundings(self.evaluate, self.review, lambda: self.now, self.host)

    def evaluate(self, run, steps, overrides):
        summaries = []
        for step in steps:
            self.trouble(run.name, step)
            name = run.name, step, tuple(overrides)
            if name not in self.made_at:
                self.evaluated[name] += 1
                self.made_at[name] = self.now
            provenance = SimpleNamespace(step=step, evaluated_at=self.made_at[name])
            summaries.append(SimpleNamespace(provenance=provenance, settings="uniform-0"))
        return summaries

    def review(self, root, name, settings):
        assert root == self.root
        self.reviewed.append(str(name))
        verdict = self.verdicts.get(str(name))
        if isinstance(verdict, Exception):
            raise verdict
        return verdict

    def look(self):
        """One call of run-due."""
        return run_due(self.root, self.told.append, self.surroundings())

    def records(self, schedule):
        """All attempts, in the order they were made."""
        paths = (self.root / "schedule" / "fires" / schedule).glob("*.json")
        return sorted(map(FireRecord.read, paths), key=lambda each: (each.started, each.attempt))


@pytest.fixture
def world(tmp_path, monkeypatch):
    return World(tmp_path, monkeypatch)


NIGHTLY = 'schedules: {nightly: {when: "0 2 * * *"%s}}'
EVERY = "schedules: {every: {when: new_checkpoint%s}}"


def test_a_cron_line_evaluates_the_newest_checkpoint_of_each_run_it_covers(world):
    world.settings(NIGHTLY % ", runs: '[ab]*', overrides: [eval.k=10]")
    world.checkpoint("a", 0, 100)
    world.checkpoint("b", 50)
    world.checkpoint("other", 7)
    assert world.look().settled == ()
    world.now = TWO + MINUTE
    (record,) = world.look().settled
    assert world.evaluated == {("a", 100, ("eval.k=10",)): 1, ("b", 50, ("eval.k=10",)): 1}
    assert (record.outcome, record.attempt, record.due) == (Outcome.DONE, 1, TWO)
    assert [(each.run, each.step, each.new) for each in record.evaluations] == [
        ("a", 100, True),
        ("b", 50, True),
    ]
    assert world.records("nightly") == [record]
    assert world.told == [events.FireBegan("nightly", record.reason), events.FireSettled(record)]
    assert world.look().settled == ()


def test_all_steps_and_a_run_without_a_checkpoint(world):
    world.settings(NIGHTLY % ", steps: all")
    world.checkpoint("a", 0, 100)
    world.checkpoint("b")
    world.look()
    world.now = TWO
    world.look()
    assert world.evaluated == {("a", 0, ()): 1, ("a", 100, ()): 1}


def test_a_new_checkpoint_is_evaluated_once_and_held_until_then(world):
    world.settings(EVERY % "")
    world.checkpoint("a", 0, 100)
    held = []
    world.trouble = lambda run, step: held.append(read_pins(world.root / run).after)
    world.look()
    world.checkpoint("a", 250)
    world.look()
    world.look()
    assert world.evaluated == {("a", step, ()): 1 for step in (0, 100, 250)}
    assert held == [-1, 99, 249]
    assert read_pins(world.root / "a").after == 250
    world.settings(EVERY % ", at_least_every: 1000")
    world.look()
    assert read_pins(world.root / "a").after == 1249


def test_what_no_schedule_waits_for_any_more_is_let_go(world):
    world.settings("schedules: {a: {when: new_checkpoint, runs: a}, b: {when: new_checkpoint}}")
    world.checkpoint("a", 0)
    world.look()
    assert read_pins(world.root / "a").after == 0
    world.settings('schedules: {a: {when: new_checkpoint, runs: x}, b: {when: "0 2 * * *"}}')
    world.look()
    assert read_pins(world.root / "a").after is None


def test_a_failure_is_tried_again_later_each_time_and_given_up_in_the_end(world, capsys):
    command = f"[{sys.executable}, -c, 'import os; print(os.environ)']"
    world.settings(NIGHTLY % f", retries: 2, on_failure: {command}")
    world.checkpoint("a", 100)
    world.look()
    world.trouble = lambda run, step: (_ for _ in ()).throw(CommandError("no\n dataset"))
    world.now = TWO
    waits = []
    for _ in range(3):
        report = world.look()
        (record,) = report.settled
        with pytest.raises(CommandError, match="nightly: no dataset; "):
            report.check()
        assert world.look().settled == (), "not at once"
        if record.retry_at:
            waits.append(record.retry_at - world.now)
            world.now = record.retry_at
    assert waits == [5 * MINUTE, 10 * MINUTE]
    attempts = world.records("nightly")
    assert [each.attempt for each in attempts] == [1, 2, 3]
    assert [each.outcome for each in attempts] == [Outcome.FAILED, Outcome.FAILED, Outcome.GIVEN_UP]
    assert record.commands == ("on_failure: exit code 0",)
    log = (world.root / record.log).read_text()
    for part in ("MANYLABEL_REASON': 'no dataset'", "MANYLABEL_SCHEDULE': 'nightly'"):
        assert part in log
    world.now += datetime.timedelta(days=1)
    world.trouble = lambda run, step: None
    (record,) = world.look().settled
    assert record.outcome is Outcome.DONE
    assert capsys.readouterr().out == "", "stages take no console"


def test_one_run_that_fails_keeps_no_other_from_being_evaluated(world):
    world.settings(NIGHTLY % ", on_worse: 'true'")
    world.verdicts = {"b@2": Verdict.WORSE}
    world.checkpoint("a", 1)
    world.checkpoint("b", 2)
    world.look()

    def trouble(run, step):
        if run == "a":
            raise ZeroDivisionError("by zero")

    world.trouble, world.now = trouble, TWO
    (record,) = world.look().settled
    assert record.outcome is Outcome.FAILED
    assert record.error == "ZeroDivisionError: by zero"
    assert [each.run for each in record.evaluations] == ["b"]
    assert record.commands == ("on_worse: exit code 0",)
    assert "Traceback (most recent call last)" in (world.root / record.log).read_text()
    world.trouble, world.now = lambda run, step: None, record.retry_at
    (record,) = world.look().settled
    assert [(each.run, each.new) for each in record.evaluations] == [("a", True), ("b", True)]
    assert world.evaluated == {("a", 1, ()): 1, ("b", 2, ()): 1}
    assert world.reviewed == ["b@2", "a@1"], "b is not reviewed again"
    assert record.commands == (), "and nobody is told again"


def test_a_worse_checkpoint_runs_its_command_once(world):
    script = (
        "import os, sys; print(*sys.argv[1:], *(os.environ['MANYLABEL_' + name] for name in "
        "('RUN', 'STEP', 'SCHEDULE', 'REASON')), os.getcwd(), sep='|')"
    )
    command = shlex.join([sys.executable, "-c", script, "two words", "$HOME"])
    every = {"when": "new_checkpoint", "on_worse": command}
    world.settings(yaml.safe_dump({"schedules": {"every": every}}))
    world.checkpoint("a", 100, 200)
    world.verdicts = {"a@100": Verdict.BETTER, "a@200": Verdict.WORSE}
    better, worse = world.look().settled
    assert (better.evaluations[0].verdict, better.commands) == ("better", ())
    assert (worse.evaluations[0].verdict, worse.commands) == ("worse", ("on_worse: exit code 0",))
    line = f"two words|$HOME|a|200|every|a@200 is shown worse than the champion|{world.root}"
    assert line in (world.root / worse.log).read_text().splitlines()
    assert world.look().settled == ()


def test_a_command_that_cannot_be_run_is_recorded(world):
    world.settings(EVERY % ", on_worse: no-such-command")
    world.checkpoint("a", 100)
    world.verdicts = {"a@100": Verdict.WORSE}
    (record,) = world.look().settled
    assert record.outcome is Outcome.DONE
    (command,) = record.commands
    assert command.startswith("on_worse: cannot be run: ")


def test_no_review_is_no_failure_and_says_why(world):
    world.settings(EVERY % "")
    world.checkpoint("a", 100)
    world.verdicts = {"a@100": CommandError("other held-out images")}
    (record,) = world.look().settled
    assert record.outcome is Outcome.DONE
    assert (record.evaluations[0].verdict, record.evaluations[0].note) == (
        None,
        "other held-out images",
    )


def test_what_was_evaluated_before_is_not_reviewed_again(world):
    world.settings(NIGHTLY % "")
    world.checkpoint("a", 100)
    world.evaluate(world.root / "a", [100], ())
    world.look()
    world.now = TWO
    (record,) = world.look().settled
    assert [each.new for each in record.evaluations] == [False]
    assert world.reviewed == []


def test_another_evaluation_at_work_is_waited_for_and_is_no_failure(world):
    world.settings(EVERY % ", retries: 0")
    world.checkpoint("a", 100)
    world.trouble = lambda run, step: (_ for _ in ()).throw(EvaluationBusyError("at work"))
    for attempt in (1, 2, 3):
        (record,) = world.look().settled
        assert (record.attempt, record.outcome, record.failures) == (
            attempt,
            Outcome.INTERRUPTED,
            0,
        )
        world.now = record.retry_at
    world.trouble = lambda run, step: None
    (record,) = world.look().settled
    assert record.outcome is Outcome.DONE


def test_a_signal_ends_it_cleanly_and_the_next_call_goes_on(world):
    world.settings(EVERY % ", retries: 0")
    world.checkpoint("a", 100)
    before = signal.getsignal(signal.SIGTERM)

    def trouble(run, step):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)

    world.trouble = trouble
    with pytest.raises(Interrupted, match="the next run-due goes on from there"):
        world.look()
    assert signal.getsignal(signal.SIGTERM) == before
    (record,) = world.records("every")
    assert (record.outcome, record.error) == (Outcome.INTERRUPTED, "the process was stopped")
    world.trouble = lambda run, step: None
    (record,) = world.look().settled
    assert (record.attempt, record.failures, record.outcome) == (2, 0, Outcome.DONE)


def test_time_that_passes_at_work_overlaps(world):
    world.settings('schedules: {hourly: {when: "0 * * * *"}}')
    world.checkpoint("a", 100)
    world.now = TWO - MINUTE
    world.look()

    def trouble(run, step):
        world.now += 2.5 * HOUR if world.now < TWO + HOUR else 0 * HOUR

    world.trouble, world.now = trouble, TWO
    started, skipped = world.look().settled
    assert (started.due, started.ended) == (TWO, TWO + 2.5 * HOUR)
    assert (skipped.action, skipped.due, skipped.coalesced) == (
        FireAction.SKIPPED_OVERLAP,
        TWO + 2 * HOUR,
        1,
    )


def test_one_process_of_a_host_is_at_work(world):
    world.settings(EVERY % "")
    world.checkpoint("a", 100)
    inner = []
    world.trouble = lambda run, step: inner.append(world.look())
    world.look()
    assert [report.is_busy for report in inner] == [True]
    assert world.evaluated == {("a", 100, ()): 1}


def test_another_host_leaves_what_is_at_work_and_takes_the_rest(world):
    world.settings(EVERY % "")
    world.checkpoint("a", 100, 200)
    orders = []

    def trouble(run, step):
        orders.append((world.host, step))
        if world.host == "here" and step == 100:
            world.host = "there"
            other = world.look()
            assert [record.step for record in other.settled] == [200]
            assert "at work since" in other.waiting[0].reason
            world.host = "here"

    world.trouble = trouble
    (record,) = world.look().settled
    assert record.step == 100
    assert orders == [("here", 100), ("there", 200)]


def test_what_another_took_is_left_even_before_its_record_can_be_seen(world, monkeypatch):
    """As on a network file system, whose folders are listed from a cache."""
    world.settings(EVERY % "")
    world.checkpoint("a", 100, 200)
    claim = FireStore.claim
    monkeypatch.setattr(
        FireStore, "claim", lambda store, record: record.step != 100 and claim(store, record)
    )
    (record,) = world.look().settled
    assert record.step == 200


def test_a_cron_line_that_was_away_makes_up_for_nothing(world):
    world.settings(NIGHTLY % ", deadline: 100d")
    world.checkpoint("a", 100)
    world.look()
    world.settings("schedules: {}")
    world.look()
    world.now = TWO + 10 * MINUTE
    world.settings(NIGHTLY % ", deadline: 100d")
    assert world.look().settled == ()
    world.now += 24 * HOUR
    (record,) = world.look().settled
    assert record.coalesced == 0


def test_a_damaged_record_is_told_and_other_schedules_go_on(world):
    world.settings('schedules: {nightly: {when: "0 2 * * *"}, every: {when: new_checkpoint}}')
    world.checkpoint("a", 100)
    world.look()
    record = next((world.root / "schedule" / "fires" / "every").glob("*.json"))
    record.write_text(record.read_text()[:80])
    world.now = TWO
    world.told.clear()
    (settled,) = world.look().settled
    assert settled.schedule == "nightly"
    (problem,) = (each.problem for each in world.told if isinstance(each, events.ScheduleProblem))
    assert str(record) in problem
    assert "remove it, and what it is for is decided again" in problem
    statuses = list_schedules(world.root, world.told.append, world.surroundings())
    assert [status.problem is None for status in statuses] == [True, False]
    record.unlink()
    world.look()
    assert world.evaluated == {("a", 100, ()): 1}, "decided again, and evaluated before"


def test_a_run_that_cannot_be_read_is_told_and_others_go_on(world, monkeypatch):
    world.settings(EVERY % "")
    for run in ("a", "b"):
        world.checkpoint(run, 1)
    listed = world.checkpoints

    def checkpoints(run, on_damaged=None):
        if run.name == "a":
            raise CommandError("a: of another version")
        return listed(run)

    monkeypatch.setattr(schedule_runs, "list_checkpoints", checkpoints)
    world.look()
    assert world.evaluated == {("b", 1, ()): 1}
    assert events.ScheduleProblem("a: of another version") in world.told


def test_serving_looks_again_and_again_and_ends_when_it_is_told(world):
    world.settings("interval: 7m\n" + EVERY % "")
    world.checkpoint("a", 0)
    waits = []

    def wait(interval):
        waits.append(interval)
        match len(waits):
            case 1:
                world.checkpoint("a", 100)
            case 2 | 3:
                world.settings("schedules: [")
            case 4:
                world.settings(EVERY % ", runs: b")
            case 5:
                os.kill(os.getpid(), signal.SIGTERM)
                time.sleep(5)

    serve(world.root, world.told.append, world.surroundings(), wait)
    assert world.evaluated == {("a", 0, ()): 1, ("a", 100, ()): 1}
    assert waits == [7 * MINUTE] * 4 + [MINUTE]
    problems = [each.problem for each in world.told if isinstance(each, events.ScheduleProblem)]
    assert len(problems) == 1, "what is wrong for long is told once"
    assert "not valid YAML" in problems[0]


def test_serving_that_is_stopped_at_work_says_so(world):
    world.settings(EVERY % "")
    world.checkpoint("a", 0)

    def trouble(run, step):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(5)

    world.trouble = trouble
    with pytest.raises(Interrupted):
        serve(world.root, world.told.append, world.surroundings(), lambda interval: None)


def test_a_heart_beats_while_it_evaluates(world, monkeypatch):
    monkeypatch.setattr("manylabel.pipeline.schedule_fire.HEARTBEAT", datetime.timedelta(0))
    world.settings(EVERY % "")
    world.checkpoint("a", 0)
    began = world.now

    def trouble(run, step):
        world.now += HOUR
        deadline = time.monotonic() + 20
        while world.records("every")[0].heartbeat == began and time.monotonic() < deadline:
            time.sleep(0.001)
        (record,) = world.records("every")
        assert record.heartbeat == began + HOUR
        assert record.is_at_work(world.now, "there")

    world.trouble = trouble
    (record,) = world.look().settled
    assert record.outcome is Outcome.DONE, record.error
    assert threading.active_count() == 1


def test_the_status_says_what_was_why_and_what_comes(world):
    world.settings('schedules: {nightly: {when: "0 2 * * *"}, every: {when: new_checkpoint}}')
    world.checkpoint("a", 100)

    def statuses():
        return list_schedules(world.root, world.told.append, world.surroundings())

    nightly, every = statuses()
    assert (nightly.latest, every.latest) == (None, None)
    assert nightly.next_due == TWO
    assert every.decisions[0].reason == "step 100 of a is new"
    assert not (world.root / "schedule").exists(), "it writes nothing"
    world.look()
    world.now = TWO + MINUTE
    world.look()
    nightly, every = statuses()
    assert nightly.latest.reason == "due at 2026-05-04 02:00 UTC"
    assert nightly.next_due == TWO + 24 * HOUR
    assert every.latest.evaluations[0].step == 100
    assert every.decisions[0].reason == "no new checkpoint (a from step 101 on)"
    without_runs = schedule_statuses(world.root, read_schedules(world.root), world.now)
    assert [len(status.decisions) for status in without_runs] == [1, 0]


def test_the_real_evaluation_is_asked_for_what_is_meant(monkeypatch, tmp_path):
    asked: list[tuple] = []
    told: list[events.Event] = []

    def evaluate_run(run, step, dataset, overrides, on_event):
        asked.append((run, step, dataset, overrides))
        on_event(events.EvaluatedBefore(3))
        on_event(events.WorkEnded())
        return []

    monkeypatch.setattr("manylabel.pipeline.evaluate.evaluate_run", evaluate_run)
    schedule_runs.evaluate_steps(tmp_path, [7], ("eval.k=1",), told.append)
    schedule_runs.evaluate_steps(tmp_path, [3, 7], (), told.append)
    assert asked == [(tmp_path, "7", None, ("eval.k=1",)), (tmp_path, "all", None, ())]
    assert told == [events.WorkEnded()] * 2, "nothing of what was evaluated before"


def test_a_root_without_settings_is_an_error_before_anything_is_written(tmp_path):
    for stage in (run_due, serve, list_schedules):
        with pytest.raises(EvaluationError, match="expected the settings of schedules"):
            stage(tmp_path, print)
    assert list(Path(tmp_path).iterdir()) == []
