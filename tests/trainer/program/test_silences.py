"""What is told of those who do not answer, and how often."""

import datetime
import threading
import time
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from manylabel.trainer.errors import LostPartError
from manylabel.trainer.program import silences as module
from manylabel.trainer.program.silences import FIRST_SECONDS, WORKER_SECONDS, Silences, telling
from tests.trainer.test_job import GOING

NOON = datetime.datetime(2026, 1, 1, 12, 3, 4)


@pytest.fixture
def silences(clock):
    return Silences(clock, lambda: NOON)


def told(silences, clock, seconds):
    """Each line, and after how many seconds it was told."""
    began = clock.now
    lines: dict[str, float] = {}
    while clock.now < began + seconds:
        clock.now += 1
        lines |= {line: clock.now - began for line in silences.lines()}
    return lines


def test_silence_is_told_sparingly_with_the_last_word(silences, clock):
    silences.note(replace(GOING, step=1234, heard={"worker-1": 28.4, "worker-0": 2.0}))
    silences.ask("coordinator")
    last = (
        "; the last word: update 1,234 at 12:03:04, when worker-1, one of 2, had said nothing for "
        "28 s"
    )
    assert told(silences, clock, 300) == {
        f"no answer from coordinator for {seconds} s{last}": seconds
        for seconds in (30, 60, 120, 240)
    }


def test_it_goes_on_when_answers_come_again(silences, clock):
    silences.ask("coordinator")
    told(silences, clock, 45)
    silences.answer("coordinator")
    assert silences.lines() == ["coordinator answers again, after 45 s"]
    silences.ask("coordinator")
    assert told(silences, clock, FIRST_SECONDS - 1) == {}, "it is counted anew"


def test_what_is_answered_soon_is_not_told(silences, clock):
    for _ in range(100):
        with silences.waiting("coordinator", "shard-0"):
            clock.now += FIRST_SECONDS - 1
    assert silences.lines() == []


def test_who_is_lost_does_not_answer_again(silences, clock):
    with suppress(LostPartError), silences.waiting("coordinator"):
        told(silences, clock, 45)
        raise LostPartError
    assert silences.lines() == []


def test_who_is_asked_twice_is_silent_since_the_first_time(silences, clock):
    silences.ask("shard-0")
    clock.now += 20
    silences.ask("shard-0")
    assert silences.seconds("shard-0") == 20
    assert silences.seconds("shard-1") == 0


def test_a_worker_that_the_coordinator_does_not_hear(silences, clock):
    silences.describe = {"worker-1": "worker-1 on 10.0.0.7 (process 5)"}.get
    silences.note(replace(GOING, heard={"worker-1": WORKER_SECONDS - 1, "worker-0": 1.0}))
    assert silences.lines() == []
    silences.note(replace(GOING, heard={"worker-1": WORKER_SECONDS, "worker-0": 1.0}))
    assert silences.lines() == ["no answer from worker-1 on 10.0.0.7 (process 5) for 120 s"]
    silences.note(replace(GOING, heard={"worker-1": WORKER_SECONDS + 1, "worker-0": 1.0}))
    assert silences.lines() == []
    silences.note(replace(GOING, heard={"worker-1": 0.5, "worker-0": 1.0}))
    assert silences.lines() == ["worker-1 is heard again, after 120 s"]


def test_whatever_a_worker_is_called_it_is_known_as_one(silences):
    silences.ask("worker-2's node")
    silences.note(replace(GOING, heard={"gradients": WORKER_SECONDS}))
    assert silences.lines() == ["no answer from gradients for 120 s"]
    silences.note(replace(GOING, heard={"gradients": 0.0}))
    assert silences.lines() == ["gradients is heard again, after 120 s"]
    assert silences._silences.keys() == {"worker-2's node"}, "not the coordinator's to tell"


def test_a_worker_that_was_replaced_is_not_heard_again(silences):
    silences.note(replace(GOING, heard={"worker-1": WORKER_SECONDS}))
    silences.lines()
    silences.note(replace(GOING, heard={"worker-2": 0.0}))
    assert silences.lines() == []


def test_who_is_told_to_stop_hears_at_once_that_it_saves(silences, monkeypatch):
    """Also while the monitor waits for an answer that does not come."""
    monkeypatch.setattr(module, "_POLL_SECONDS", 0.01)
    stop = threading.Event()
    lines: list[str] = []
    told = threading.Event()

    def tell(line):
        lines.append(line)
        told.set()

    with telling(silences, stop, tell, lambda _: None):
        stop.set()
        assert told.wait(60)
    assert lines == ["told to stop: saving; told once more, it ends without that"]


def test_who_fails_to_hear_of_it_ends_the_job_when_progress_is_told(silences, monkeypatch):
    monkeypatch.setattr(module, "_POLL_SECONDS", 0.01)
    stop = threading.Event()
    told: list[Any] = []
    progress: Any = "how far it is"

    def fail(line):
        raise LookupError(line)

    def work():
        with telling(silences, stop, fail, told.append) as on_progress:
            on_progress(progress)
            stop.set()
            while any(each.name == "training-silences" for each in threading.enumerate()):
                time.sleep(0.005)
            on_progress(progress)
            raise AssertionError("it goes on")

    with pytest.raises(LookupError, match="told to stop: saving"):
        work()
    assert told == [progress]
