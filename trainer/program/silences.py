"""Who of a training job is asked and does not answer, and what to tell of it, sparingly."""

import datetime
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from manylabel.storage.reminders import Reminders
from manylabel.storage.repeating import repeating
from manylabel.trainer.plane.status import CoordinatorStatus
from manylabel.trainer.reports import TrainingProgress

FIRST_SECONDS = 30.0
"""Without an answer, after which it is told; then at twice that, at four times, and so on."""
WORKER_SECONDS = 120.0
"""The same of a worker, which says something once a gradient, the first of which is compiled."""
_POLL_SECONDS = 0.5
_ANSWERS = "answers again"


@dataclass
class _Silence:
    since: float
    reminders: Reminders
    of_worker: bool = False  # that the coordinator tells of: others are asked by the driver
    told: bool = False


class Silences:
    """What is known of each who was asked something; used by several threads.

    Args:
        now: the time of day.

    Attributes:
        describe: what to call whom, by their names.
    """

    describe: Callable[[str], str] = staticmethod(str)

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime.datetime] = datetime.datetime.now,
    ) -> None:
        self._clock, self._now = clock, now
        self._lock = threading.Lock()
        self._silences: dict[str, _Silence] = {}
        self._lines: list[str] = []
        self._last = "nothing yet"

    def ask(self, who: str) -> None:
        """An answer of theirs is waited for from now on, unless it is already."""
        with self._lock:
            self._silences.setdefault(who, _Silence(self._clock(), Reminders(FIRST_SECONDS)))

    @contextmanager
    def waiting(self, *who: str) -> Iterator[None]:
        """Their answers are waited for while the block runs; where it raises, none has come."""
        for each in who:
            self.ask(each)
        how = ""
        try:
            yield
            how = _ANSWERS
        finally:
            with self._lock:
                for each in who:
                    self._end(each, how)

    def answer(self, who: str) -> None:
        """They have answered."""
        with self._lock:
            self._end(who, _ANSWERS)

    def forget(self, who: str) -> None:
        """They will not answer; others tell why."""
        with self._lock:
            self._end(who, "")

    def seconds(self, who: str) -> float:
        """For how long their answer is waited for; 0 if it is not."""
        with self._lock:
            silence = self._silences.get(who)
            return 0.0 if silence is None else self._clock() - silence.since

    def note(self, status: CoordinatorStatus) -> None:
        """The coordinator's last word, and whom of the workers it hears."""
        with self._lock:
            now = self._clock()
            self._last = f"update {status.step:,} at {self._now():%H:%M:%S}"
            longest = max(status.heard.items(), key=lambda heard: heard[1], default=None)
            if longest is not None and longest[1] > 1:
                worker, seconds = longest
                self._last += (
                    f", when {worker}, one of {len(status.heard)}, had said nothing for "
                    f"{seconds:.0f} s"
                )
            for worker in [who for who, each in self._silences.items() if each.of_worker]:
                if status.heard.get(worker, 0.0) < WORKER_SECONDS:
                    self._end(worker, "is heard again" if worker in status.heard else "")
            for worker, seconds in status.heard.items():
                if seconds >= WORKER_SECONDS:
                    silence = _Silence(now - seconds, Reminders(WORKER_SECONDS), of_worker=True)
                    self._silences.setdefault(worker, silence)

    def lines(self) -> list[str]:
        """What to tell now."""
        with self._lock:
            lines, self._lines = self._lines, []
            for who, silence in self._silences.items():
                seconds = self._clock() - silence.since
                if silence.reminders.are_due(seconds):
                    silence.told = True
                    said = "" if silence.of_worker else f"; the last word: {self._last}"
                    lines.append(f"no answer from {self.describe(who)} for {seconds:.0f} s{said}")
            return lines

    def _end(self, who: str, how: str) -> None:
        silence = self._silences.pop(who, None)
        if silence is not None and silence.told and how:
            self._lines.append(f"{who} {how}, after {self._clock() - silence.since:.0f} s")


@contextmanager
def telling(
    silences: Silences,
    stop: threading.Event,
    tell: Callable[[str], None],
    on_progress: Callable[[TrainingProgress], None],
) -> Iterator[Callable[[TrainingProgress], None]]:
    """Tells what there is to tell while the block runs, also while its thread waits within Ray; and
    once, as soon as `stop` is set, what happens then.

    Yields:
        Whom to tell of progress, in place of `on_progress`; it is passed on.

    Raises:
        BaseException: what `tell` raised, when progress is told or the block is over; unless the
            block failed by itself.
    """
    saving = False

    def watch() -> None:
        nonlocal saving
        if stop.is_set() and not saving:
            saving = True
            tell("told to stop: saving; told once more, it ends without that")
        for line in silences.lines():
            tell(line)

    with repeating(watch, _POLL_SECONDS, "training-silences") as check:

        def pass_on(progress: TrainingProgress) -> None:
            check()
            on_progress(progress)

        yield pass_on
