"""How far a job is, for whoever shows it."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum

POLL_SECONDS = 0.5
_WINDOW_SECONDS = 30.0
"""What a rate is the mean of: long enough for a shard, short enough to show that a disk is slow."""


class Stage(StrEnum):
    """What a job does, in this order; stages with nothing to do are left out."""

    READ_CATALOG = "reading the catalog"
    SORT_ROWS = "sorting rows by image"
    CHECK_IMAGES = "checking images"
    FIND_DUPLICATES = "finding duplicates"
    PLAN_SHARDS = "planning shards"
    VERIFY_SHARDS = "verifying shards"
    WRITE_SHARDS = "writing shards"


UNITS = {
    Stage.READ_CATALOG: "rows",
    Stage.SORT_ROWS: "rows",
    Stage.VERIFY_SHARDS: "shards",
}
"""What a stage counts; the others count images."""


@dataclass(frozen=True, slots=True)
class Progress:
    """`done` of `total` units; None while a stage cannot know.

    Attributes:
        rate: Units a second, over the last half minute; 0 at first.
    """

    stage: Stage
    done: int = 0
    total: int | None = None
    rate: float = 0.0

    @property
    def unit(self) -> str:
        """What is counted, in the plural."""
        return UNITS.get(self.stage, "images")


ProgressListener = Callable[[Progress], None]


class Meter:
    """Counts what is done, from any thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._progress: Progress | None = None
        self._seen: deque[tuple[float, int]] = deque()

    def begin(self, stage: Stage, total: int | None = None, done: int = 0) -> None:
        """A stage begins, of whose units `done` were there before."""
        with self._lock:
            self._progress = Progress(stage, done, total)
            self._seen = deque([(self._clock(), done)])

    def advance(self, stage: Stage, units: int, total: int | None = None) -> None:
        """Units of a stage are done; the first ones begin it."""
        with self._lock:
            present = self._progress
            if present is None or present.stage is not stage:
                present = Progress(stage, 0, total)
                self._seen = deque([(self._clock(), 0)])
            self._progress = Progress(stage, present.done + units, total or present.total)

    def read(self) -> Progress | None:
        """How far the present stage is; None before the first."""
        with self._lock:
            progress = self._progress
            if progress is None:
                return None
            now = self._clock()
            while len(self._seen) > 1 and now - self._seen[1][0] > _WINDOW_SECONDS:
                self._seen.popleft()
            begun, before = self._seen[0]
            self._seen.append((now, progress.done))
            rate = (progress.done - before) / (now - begun) if now > begun else 0.0
            return Progress(progress.stage, progress.done, progress.total, rate)


@contextmanager
def reporting(meter: Meter, listener: ProgressListener) -> Iterator[None]:
    """Tells a listener, from a thread, how far a job is while the block runs."""
    finished = threading.Event()

    def report() -> None:
        progress = meter.read()
        if progress is not None:
            listener(progress)

    def watch() -> None:
        while not finished.wait(POLL_SECONDS):
            report()

    thread = threading.Thread(target=watch, name="preprocessing-progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        finished.set()
        thread.join()
        report()
