"""What schedules evaluate, and what they say of it; see the world in conftest."""

import datetime
from pathlib import Path

import pytest

from manylabel.eval.errors import EvaluationError
from manylabel.eval.schedule.config import read_schedules
from manylabel.eval.schedule.records import FireAction, Outcome
from manylabel.eval.schedule.status import schedule_statuses
from manylabel.pipeline import events, schedule_runs
from manylabel.pipeline.schedule import list_schedules, run_due, serve
from manylabel.storage.pins import read_pins

TWO = datetime.datetime(2026, 5, 4, 2, tzinfo=datetime.UTC)
MINUTE = datetime.timedelta(minutes=1)
HOUR = 60 * MINUTE
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


def test_what_was_evaluated_before_is_not_reviewed_again(world):
    world.settings(NIGHTLY % "")
    world.checkpoint("a", 100)
    world.evaluate(world.root / "a", "100", ())
    world.look()
    world.now = TWO
    (record,) = world.look().settled
    assert [each.new for each in record.evaluations] == [False]
    assert world.reviewed == []


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
    schedule_runs.evaluate_step(tmp_path, "7", ("eval.k=1",), told.append)
    schedule_runs.evaluate_step(tmp_path, "all", (), told.append)
    assert asked == [(tmp_path, "7", None, ("eval.k=1",)), (tmp_path, "all", None, ())]
    assert told == [events.WorkEnded()] * 2, "nothing of what was evaluated before"


def test_a_root_without_settings_is_an_error_before_anything_is_written(tmp_path):
    for stage in (run_due, serve, list_schedules):
        with pytest.raises(EvaluationError, match="expected the settings of schedules"):
            stage(tmp_path, print)
    assert list(Path(tmp_path).iterdir()) == []
