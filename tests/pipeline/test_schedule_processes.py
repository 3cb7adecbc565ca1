"""Schedules and processes: signals, several at once, serving."""

import datetime
import os
import signal
import threading
import time

import pytest

from manylabel.eval.schedule.records import Outcome
from manylabel.eval.schedule.store import FireStore
from manylabel.pipeline import events
from manylabel.pipeline.errors import Interrupted
from manylabel.pipeline.schedule import serve

MINUTE = datetime.timedelta(minutes=1)
HOUR = 60 * MINUTE
EVERY = "schedules: {every: {when: new_checkpoint%s}}"


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
    began, threads = world.now, threading.active_count()

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
    assert threading.active_count() == threads


def test_serving_survives_what_nobody_has_thought_of(world, monkeypatch):
    world.settings(EVERY % "")
    decide = iter([TypeError("odd"), KeyboardInterrupt()])
    monkeypatch.setattr(
        "manylabel.pipeline.schedule.decide", lambda *_: (_ for _ in ()).throw(next(decide))
    )
    serve(world.root, world.told.append, world.surroundings(), lambda interval: None)
    assert world.told == [events.ScheduleProblem("TypeError: odd")]
