"""What is told of work that gets no further."""

import os
import threading
import time

import pytest

from manylabel.pipeline import standstill as module
from manylabel.pipeline.events import Event, LineTold, PredictionProgressed, PreprocessingProgressed
from manylabel.pipeline.standstill import Standstill, telling_standstill
from manylabel.preprocessing.progress import Progress, Stage
from manylabel.storage.stacks import stacks_shown_meanwhile


@pytest.fixture
def standstill(clock):
    return Standstill(clock)


def told(standstill, clock, event, seconds):
    """The lines, by their seconds, while it goes on saying the same."""
    lines = {}
    for second in range(1, seconds + 1):
        clock.now += 1
        standstill.note(event)
        if (line := standstill.line()) is not None:
            lines[second] = line
    return lines


def test_what_hangs_is_told_sparingly(standstill, clock):
    progress = PreprocessingProgressed(Progress(Stage.WRITE_SHARDS, 1200, 4000, rate=7.0))
    standstill.note(progress)
    with stacks_shown_meanwhile():
        lines = told(standstill, clock, progress, 250)
    assert list(lines) == [60, 120, 240]
    assert lines[120] == (
        f"no progress for 120 s (writing shards: 1,200 of 4,000); `kill -USR2 {os.getpid()}` shows "
        "where it is"
    )


def test_nobody_is_told_to_send_what_would_end_the_process(standstill, clock):
    progress = PredictionProgressed(32, 500)
    standstill.note(progress)
    expected = {60: "no progress for 60 s (predicting: 32 of 500)"}
    assert told(standstill, clock, progress, 60) == expected


def test_what_goes_on_is_not_told(standstill, clock):
    for done in range(3):
        assert not told(standstill, clock, PredictionProgressed(done, 9), 59)
    standstill.note(PreprocessingProgressed(Progress(Stage.CHECK_IMAGES)))
    assert not told(standstill, clock, PreprocessingProgressed(Progress(Stage.PLAN_SHARDS)), 59)


def test_the_hour_of_a_process_that_was_stopped_itself_is_not_told(standstill, clock):
    event = PredictionProgressed(1, 9)
    assert not told(standstill, clock, event, 30)
    clock.now += 3600
    (line,) = told(standstill, clock, event, 30).values()
    assert line == "no progress for 60 s (predicting: 1 of 9)"


def test_a_large_shard_that_grows_is_not_told(standstill, clock):
    for size in (10**6, 10**7, 10**8):
        event = PreprocessingProgressed(Progress(Stage.WRITE_SHARDS, 0, 4000, under_way=size))
        assert not told(standstill, clock, event, 59)
    (line,) = told(standstill, clock, event, 2).values()
    assert "(writing shards: 0 of 4,000, 100,000,000 bytes under way)" in line


def test_after_a_step_it_is_counted_anew(standstill, clock):
    assert list(told(standstill, clock, PredictionProgressed(1, 9), 130)) == [61, 121]
    assert list(told(standstill, clock, PredictionProgressed(2, 9), 130)) == [61, 121]


def test_work_that_says_nothing_is_told_of_and_its_events_are_passed_on(monkeypatch):
    monkeypatch.setattr(module, "_POLL_SECONDS", 0.01)
    monkeypatch.setattr(module, "FIRST_SECONDS", 0.05)
    came: list[Event] = []
    with telling_standstill(came.append) as on_event:
        on_event(PredictionProgressed(1, 9))
        deadline = time.monotonic() + 60
        while len(came) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.005)
    assert came[0] == PredictionProgressed(1, 9)
    assert isinstance(came[1], LineTold)
    assert "(predicting: 1 of 9)" in came[1].line


def test_who_fails_to_hear_of_it_ends_the_work_at_its_next_word(monkeypatch):
    monkeypatch.setattr(module, "_POLL_SECONDS", 0.01)
    monkeypatch.setattr(module, "FIRST_SECONDS", 0.05)
    told: list[Event] = []

    def listen(event):
        told.append(event)
        if isinstance(event, LineTold):
            raise LookupError("nobody listens")

    def work():
        with telling_standstill(listen) as on_event:
            while any(each.name == "standstill" for each in threading.enumerate()):
                time.sleep(0.005)
            on_event(PredictionProgressed(1, 9))
            raise AssertionError("it goes on")

    with pytest.raises(LookupError, match="nobody listens"):
        work()
    assert list(map(type, told)) == [LineTold]
