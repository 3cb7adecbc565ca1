"""What `schedule list` and its events say, and its exit codes."""

import datetime

import pytest

from manylabel.eval.schedule.config import ScheduleConfig
from manylabel.eval.schedule.decision import Act, Decision
from manylabel.eval.schedule.records import FireEvaluation, FireJob, FireRecord, Outcome
from manylabel.eval.schedule.status import ScheduleStatus
from manylabel.eval.schedule.store import FirstSeen
from manylabel.pipeline import cli
from manylabel.pipeline.schedule_text import fire_line, local_time, status_lines

TWO = datetime.datetime(2026, 5, 4, 0, tzinfo=datetime.UTC)
NIGHTLY = ScheduleConfig(when="0 2 * * *", timezone="Europe/Paris", runs="a*")


def record(**changes) -> FireRecord:
    started = Decision("nightly", Act.START, "due at 02:00", "k", TWO).record(TWO, "host", 7)
    return started.model_copy(update=changes)


def made(run, step, verdict=None, new=True):
    return FireEvaluation(run=run, step=step, settings="s", new=new, verdict=verdict)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (
            {"outcome": Outcome.DONE, "evaluations": (made("a", 1, "better"), made("b", 2))},
            "done, a@1 better, b@2: due at 02:00",
        ),
        (
            {"outcome": Outcome.DONE, "evaluations": (made("a", 1, new=False),)},
            "done, nothing new to evaluate: due at 02:00",
        ),
        ({"outcome": Outcome.GIVEN_UP, "error": "no room"}, "given up: no room"),
        ({"outcome": Outcome.FAILED, "error": "no room"}, "failed: no room"),
        ({"action": "skipped_overlap"}, "skipped overlap: due at 02:00"),
        ({}, "at work (host, 7): due at 02:00"),
    ],
)
def test_a_fire_is_told_on_one_line(changes, line):
    assert fire_line(record(**changes)) == f"nightly: {line}"


def test_a_schedule_is_told_with_its_last_fire_and_the_next():
    status = ScheduleStatus(
        "nightly",
        NIGHTLY,
        TWO + datetime.timedelta(minutes=9),
        record(
            commands=("on_worse: exit code 0",),
            jobs=(FireJob(run="a", submission="job-1", address="http://head:8265"),),
        ),
        (Decision("nightly", Act.WAIT, "not before", next_due=TWO),),
    )
    there = TWO.astimezone(NIGHTLY.zone)
    same = there.utcoffset() == TWO.astimezone().utcoffset()
    assert list(status_lines([status])) == [
        "nightly  0 2 * * * Europe/Paris, runs a*",
        f"  last  {local_time(TWO)}  died (host, 7): due at 02:00",
        "        on_worse: exit code 0",
        "        job of a: job-1 on http://head:8265",
        f"  next  {local_time(TWO)}" + ("" if same else " (02:00 in Europe/Paris)"),
    ]


def test_what_is_due_now_and_what_cannot_be_read():
    every = ScheduleConfig(when="new_checkpoint", at_least_every=2000)
    due = ScheduleStatus("every", every, TWO, None, (Decision("every", Act.START, "new"),))
    damaged = ScheduleStatus("every", every, TWO, problem="x.json: cut short")
    assert list(status_lines([due, damaged])) == [
        "every  new checkpoints, 2,000 updates apart, runs *",
        "  last  nothing yet",
        "  next  now: new",
        "every  new checkpoints, 2,000 updates apart, runs *",
        "  ? x.json: cut short",
    ]


@pytest.mark.parametrize("command", ["run-due", "serve", "list"])
def test_bad_settings_are_told_in_one_line_each(command, tmp_path, capsys):
    assert cli.run(["schedule", command, str(tmp_path)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith(f"error: {tmp_path}/schedules.yaml: expected the settings of schedules")
    (tmp_path / "schedules.yaml").write_text("schedules: {a: {when: x}, b: {whn: y}}")
    assert cli.run(["schedule", command, str(tmp_path)]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 2


def test_the_command_line_runs_what_is_due_and_lists_it(tmp_path, capsys):
    (tmp_path / "schedules.yaml").write_text("schedules: {every: {when: new_checkpoint}}")
    assert cli.run(["schedule", "run-due", str(tmp_path)]) == 0
    assert capsys.readouterr().out == "", "nothing is due: a line every minute would be mail"
    assert cli.run(["schedule", "list", str(tmp_path)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "every  new checkpoints, runs *",
        "  last  nothing yet",
        "  next  no new checkpoint",
    ]


def test_a_fire_that_failed_makes_the_command_fail(tmp_path, capsys):
    (tmp_path / "schedules.yaml").write_text('schedules: {minutely: {when: "* * * * *"}}')
    assert cli.run(["schedule", "run-due", str(tmp_path)]) == 0
    (since,) = (tmp_path / "schedule" / "since").iterdir()
    first = FirstSeen.read(since)
    earlier = first.since - datetime.timedelta(hours=1)
    first.model_copy(update={"since": earlier}).write(since)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "run.json").write_text("{")
    (tmp_path / "broken" / "checkpoints" / "00000001").mkdir(parents=True)
    manifest = tmp_path / "broken" / "checkpoints" / "00000001" / "manifest.json"
    manifest.write_text('{"format_version": 99}')
    capsys.readouterr()
    assert cli.run(["schedule", "run-due", str(tmp_path)]) == 2
    captured = capsys.readouterr()
    (line,) = captured.err.splitlines()
    assert line.startswith("error: minutely: ")
    assert "format version 2, received version 99" in line
    assert "tried again at" in line
    assert "minutely: failed: " in captured.out
