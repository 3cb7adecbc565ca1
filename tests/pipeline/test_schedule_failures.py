"""What fails, or is worse: recorded, told, tried again, and in nobody's way."""

import datetime
import errno
import os
import re
import shlex
import signal
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import yaml

from manylabel.eval.schedule.records import Outcome
from manylabel.eval.schedule.store import FireStore
from manylabel.eval.statistics.differences import Verdict
from manylabel.pipeline import events, schedule_runs
from manylabel.pipeline.errors import CommandError, EvaluationBusyError, Interrupted
from manylabel.pipeline.schedule import list_schedules
from manylabel.pipeline.stopping import told_to_stop
from manylabel.storage import stop_signals
from manylabel.storage.errors import DatasetError

TWO = datetime.datetime(2026, 5, 4, 2, tzinfo=datetime.UTC)
MINUTE = datetime.timedelta(minutes=1)
NIGHTLY = 'schedules: {nightly: {when: "0 2 * * *"%s}}'
EVERY = "schedules: {every: {when: new_checkpoint%s}}"


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


def test_a_stop_that_a_library_makes_an_error_of_is_no_failure(world, monkeypatch):
    """As extension modules do while they are imported."""
    monkeypatch.setattr(stop_signals, "_ONE_REQUEST_SECONDS", 0.01)
    world.settings(NIGHTLY % "")
    world.checkpoint("a", 1)
    world.look()
    world.now = TWO

    def trouble(run, step):
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            signal.pause()
        except KeyboardInterrupt as stop:
            raise ImportError("initialization failed") from stop

    world.trouble = trouble
    with suppress(Interrupted), told_to_stop():
        world.look()
    record = world.records("nightly")[-1]
    assert (record.outcome, record.failures) == (Outcome.INTERRUPTED, 0)


def test_a_fire_that_was_stopped_in_between_does_not_tell_twice_what_is_worse(world):
    world.settings(NIGHTLY % ", on_worse: 'true'")
    world.verdicts = {"a@1": Verdict.WORSE}
    world.checkpoint("a", 1)
    world.checkpoint("b", 2)
    world.look()
    world.now = TWO
    told = []
    for error, outcome in (
        (ZeroDivisionError(), Outcome.FAILED),
        (EvaluationBusyError("at work"), Outcome.INTERRUPTED),
        (KeyboardInterrupt(), Outcome.INTERRUPTED),
        (None, Outcome.DONE),
    ):

        def trouble(run, step, error=error):
            if run == "b" and error is not None:
                raise error

        world.trouble = trouble
        with suppress(Interrupted):
            world.look()
        record = world.records("nightly")[-1]
        assert record.outcome is outcome
        assert record.evaluations[0].verdict == "worse"
        told += record.commands
        world.now = record.retry_at or world.now + MINUTE
    assert told == ["on_worse: exit code 0"]
    assert world.reviewed == ["a@1", "b@2"]


def test_a_busy_run_hides_neither_what_failed_nor_what_was_evaluated(world):
    world.settings(NIGHTLY % "")
    for run in "abc":
        world.checkpoint(run, 1)
    world.look()
    errors = {"a": ZeroDivisionError("by zero"), "b": EvaluationBusyError("at work")}

    def trouble(run, step):
        if run in errors:
            raise errors[run]

    world.trouble, world.now = trouble, TWO
    (record,) = world.look().settled
    assert record.outcome is Outcome.INTERRUPTED
    assert record.error == "ZeroDivisionError: by zero; at work"
    assert [each.run for each in record.evaluations] == ["c"]


@pytest.mark.parametrize("text", ["a\0b", "caf\udce9", "\ud800"])
def test_an_error_with_any_text_is_recorded_and_told(world, text):
    command = f"[{sys.executable}, -c, 'import os; print(ascii(os.environ))']"
    world.settings(EVERY % f", retries: 0, on_failure: {command}")
    world.checkpoint("a", 1)
    world.trouble = lambda run, step: (_ for _ in ()).throw(ValueError(text))
    (record,) = world.look().settled
    assert record.outcome is Outcome.GIVEN_UP
    assert record.commands == ("on_failure: exit code 0",)
    assert world.records("every") == [record]


def test_a_command_that_the_system_refuses_is_recorded(world, monkeypatch):
    world.settings(EVERY % ", on_worse: 'true'")
    world.checkpoint("a", 100)
    world.verdicts = {"a@100": Verdict.WORSE}
    monkeypatch.setattr(
        "subprocess.run", lambda *_, **__: (_ for _ in ()).throw(ValueError("embedded null byte"))
    )
    (record,) = world.look().settled
    assert record.outcome is Outcome.DONE
    assert record.commands == ("on_worse: cannot be run: embedded null byte",)


def test_whatever_one_fire_runs_into_the_others_go_on(world, monkeypatch):
    world.settings('schedules: {nightly: {when: "0 2 * * *"}, every: {when: new_checkpoint}}')
    world.checkpoint("a", 1)

    def covered_runs(*_):
        raise RuntimeError("odd")

    world.look()
    world.checkpoint("a", 2)
    monkeypatch.setattr("manylabel.pipeline.schedule_fire.covered_runs", covered_runs)
    world.now = TWO
    nightly, every = world.look().settled
    assert (nightly.schedule, nightly.outcome) == ("nightly", Outcome.FAILED)
    assert nightly.error == "RuntimeError: odd"
    assert (every.schedule, every.outcome) == ("every", Outcome.DONE)


@pytest.mark.parametrize("step", ["claim", "renew"])
def test_a_fire_that_cannot_be_recorded_is_told_and_the_others_go_on(world, monkeypatch, step):
    world.settings('schedules: {nightly: {when: "0 2 * * *"}, every: {when: new_checkpoint}}')
    world.checkpoint("a", 1)
    real = getattr(FireStore, step)

    def full(store, record):
        if record.schedule == "nightly":
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(store, record)

    world.look()
    world.checkpoint("a", 2)
    with monkeypatch.context() as patch:
        patch.setattr(FireStore, step, full)
        world.now = TWO
        report = world.look()
    assert [(each.schedule, each.outcome) for each in report.settled] == [("every", Outcome.DONE)]
    with pytest.raises(CommandError, match=r"nightly: .*No space left on device; the next call"):
        report.check()
    (record,) = world.look().settled
    assert (record.schedule, record.outcome) == ("nightly", Outcome.DONE)


def test_a_run_whose_name_is_no_text_is_told_and_others_go_on(world):
    world.settings('schedules: {nightly: {when: "0 2 * * *"}, every: {when: new_checkpoint}}')
    world.checkpoint("a", 1)
    world.checkpoint(os.fsdecode(b"caf\xe9"), 1)
    world.look()
    world.now = TWO
    world.look()
    assert [record.outcome for name in ("nightly", "every") for record in world.records(name)] == [
        Outcome.DONE
    ] * 2
    assert world.evaluated == {("a", 1, ()): 1}
    (problem,) = {each.problem for each in world.told if isinstance(each, events.ScheduleProblem)}
    assert "caf\\udce9: its name is not UTF-8" in problem


def test_a_failure_names_its_log_from_where_the_user_is(world):
    world.settings(EVERY % "")
    world.checkpoint("a", 1)
    world.trouble = lambda run, step: (_ for _ in ()).throw(CommandError("no dataset"))
    with pytest.raises(CommandError) as caught:
        world.look().check()
    (path,) = re.findall(r"(\S+) has more", str(caught.value))
    assert "no dataset" in Path(path).read_text()


def test_while_a_dataset_is_away_its_checkpoints_wait_and_fail_nothing(world, monkeypatch):
    def away(run, checkpoints, overrides):
        if run.name == "a":
            raise DatasetError("/mnt/dataset: no such dataset directory")
        return set()

    world.settings(EVERY % ", retries: 0")
    world.checkpoint("a", 100)
    world.checkpoint("b", 100)
    there = schedule_runs._evaluated
    monkeypatch.setattr(schedule_runs, "_evaluated", away)
    world.look()
    assert [(record.run, record.outcome) for record in world.records("every")] == [
        ("b", Outcome.DONE)
    ]
    assert any("no such dataset directory; its checkpoints wait" in str(e) for e in world.told)
    monkeypatch.setattr(schedule_runs, "_evaluated", there)
    world.look()
    assert {record.run for record in world.records("every")} == {"a", "b"}


def test_a_run_that_cannot_be_written_stops_no_schedule(world):
    world.settings(EVERY % "")
    world.checkpoint("a", 100)
    world.checkpoint("b", 100)
    (world.root / "a" / "kept").touch()  # Where the notes of what waits belong.
    world.look()
    assert {record.run for record in world.records("every")} == {"a", "b"}
    assert any("cannot be kept from retention" in str(event) for event in world.told)


def test_hidden_folders_are_no_runs(world):
    world.settings(EVERY % "")
    world.checkpoint(".snapshot", 100)
    world.checkpoint("a", 100)
    world.look()
    assert [record.run for record in world.records("every")] == ["a"]
