"""Says when work that tells how far it is gets no further, and how to find out where it is."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from manylabel.pipeline.events import (
    Event,
    LineTold,
    OnEvent,
    PredictionProgressed,
    PreprocessingProgressed,
    ScoringProgressed,
)
from manylabel.storage.reminders import Reminders
from manylabel.storage.repeating import repeating
from manylabel.storage.stacks import this_process_shows_stacks
from manylabel.storage.watched_time import WatchedTime

FIRST_SECONDS = 60.0
"""Without progress, after which it is told; then at twice that, at four times, and so on."""
_POLL_SECONDS = 1.0
# Between two looks at the clock; more is the time of a process that was stopped itself.
_LONGEST_GAP_SECONDS = 10.0


class Standstill:
    """How far work is, and since when."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = WatchedTime(_LONGEST_GAP_SECONDS, clock)
        self._lock = threading.Lock()
        self._stand_at("start")

    def note(self, event: Event) -> None:
        """Takes in what an event says of it."""
        at = _how_far(event)
        with self._lock:
            if at is not None and at != self._at:
                self._stand_at(at)

    def line(self) -> str | None:
        """What to tell now, if anything; asked often, since its clock stands meanwhile."""
        with self._lock:
            seconds = self._clock() - self._since
            if not self._reminders.are_due(seconds):
                return None
            advice = (
                f"; `kill -USR2 {os.getpid()}` shows where it is"
                if this_process_shows_stacks()  # else it might end it
                else ""
            )
            return f"no progress for {seconds:.0f} s ({self._at}){advice}"

    def _stand_at(self, at: str) -> None:
        self._at, self._since, self._reminders = at, self._clock(), Reminders(FIRST_SECONDS)


@contextmanager
def telling_standstill(on_event: OnEvent) -> Iterator[OnEvent]:
    """Tells as an event, while the block runs, that the work's own say the same or do not come.

    Yields:
        What to tell the work's events, in place of `on_event`; it passes them on.

    Raises:
        BaseException: what `on_event` raised, in whichever thread; unless the block failed by
            itself.
    """
    standstill = Standstill()

    def watch() -> None:
        if (line := standstill.line()) is not None:
            on_event(LineTold(line))

    with repeating(watch, _POLL_SECONDS, "standstill") as check:

        def note(event: Event) -> None:
            check()
            standstill.note(event)
            on_event(event)

        yield note


def _how_far(event: Event) -> str | None:
    match event:
        case PreprocessingProgressed(progress):
            begun = f", {progress.under_way:,} bytes under way" if progress.under_way else ""
            return f"{progress.stage}: {_count(progress.done, progress.total)}{begun}"
        case PredictionProgressed(done, total):
            return f"predicting: {_count(done, total)}"
        case ScoringProgressed(done, total):
            return f"scoring: {_count(done, total)}"
    return None


def _count(done: int, total: int | None) -> str:
    return f"{done:,}" if total is None else f"{done:,} of {total:,}"
