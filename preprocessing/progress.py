"""How far a job is, for whoever shows it."""

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from enum import StrEnum

from manylabel.storage.jobs import ProcessPlace
from manylabel.storage.repeating import repeating

POLL_SECONDS = 0.5
_SECONDS_BETWEEN_LOOKS = 3.0
_WINDOW_SECONDS = 30.0
"""What a rate is the mean of: long enough for a shard, short enough to show that a disk is slow."""


class Stage(StrEnum):
    """What a job does, in this order; stages with nothing to do are left out."""

    READ_CATALOG = "reading the catalog"
    COUNT_ROWS = "counting rows"
    SORT_ROWS = "sorting rows by image"
    CHECK_IMAGES = "checking images"
    FIND_DUPLICATES = "finding duplicates"
    PLAN_SHARDS = "planning shards"
    FIND_PLAN = "looking for the plan"
    FIND_SHARDS = "looking for shards"
    VERIFY_SHARDS = "verifying shards"
    WRITE_SHARDS = "writing shards"


UNITS = {
    Stage.READ_CATALOG: "MB",
    Stage.COUNT_ROWS: "rows",
    Stage.SORT_ROWS: "rows",
    Stage.FIND_SHARDS: "shards",
    Stage.VERIFY_SHARDS: "shards",
}
"""What a stage counts; the others count images."""


@dataclass(frozen=True, slots=True)
class Progress:
    """`done` of `total` units; None while a stage cannot know.

    Attributes:
        rate: Units a second, over the last half minute; 0 at first.
        processes: Who did what of the executor's work since the job began, by stage and node.
        under_way: Bytes of what is begun and counts for nothing yet.
    """

    stage: Stage
    done: int = 0
    total: int | None = None
    rate: float = 0.0
    processes: tuple[ProcessPlace, ...] = ()
    under_way: int = 0

    @property
    def unit(self) -> str:
        """What is counted, in the plural."""
        return UNITS.get(self.stage, "images")


@dataclass(frozen=True, slots=True)
class Remarks:
    """How many images have something odd about their files, and what was said of the first."""

    images: int = 0
    first: str = ""


ProgressListener = Callable[[Progress], None]


class Meter:
    """Counts what is done, from any thread.

    Attributes:
        check: called before anything is counted; what it raises is for whoever counts.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.check: Callable[[], None] = lambda: None
        self._clock = clock
        self._lock = threading.Lock()
        self._progress: Progress | None = None
        self._seen: deque[tuple[float, int]] = deque()
        self._ended: list[Progress] = []
        self._credits: dict[tuple[str, str], tuple[int, int]] = {}
        self._remarks = Remarks()
        self._begun = 0  # stages
        self._under_way: Callable[[], int] | None = None
        self._looked: tuple[float, int] = (-math.inf, 0)

    def begin(
        self, stage: Stage, total: int | None = None, under_way: Callable[[], int] | None = None
    ) -> None:
        """A stage begins.

        Args:
            under_way: Bytes of what is begun; asked every few seconds while the stage lasts.
        """
        self.check()
        with self._lock:
            self._begin(stage, total)
            self._under_way = under_way

    def advance(self, stage: Stage, units: int, total: int | None = None) -> None:
        """Units of a stage are done; the first ones begin it."""
        self.check()
        with self._lock:
            present = self._in(stage, total)
            self._progress = Progress(stage, present.done + units, total or present.total)

    def keep(self, stage: Stage, units: int) -> None:
        """Units of a stage were done before, by another job; they are no part of the rate."""
        self.check()
        with self._lock:
            present = self._in(stage, None)
            self._progress = Progress(stage, present.done + units, present.total)
            self._seen = deque((when, done + units) for when, done in self._seen)

    def reach(self, stage: Stage, done: int) -> None:
        """So many units of a stage are done by now."""
        self.check()
        with self._lock:
            self._progress = Progress(stage, done, self._in(stage, None).total)

    def credit(self, name: str, node: str, images: int, shards: int = 0) -> None:
        """A node settled images, or wrote shards, for the work of this name."""
        with self._lock:
            before = self._credits.get((name, node), (0, 0))
            self._credits[name, node] = before[0] + images, before[1] + shards

    def remark(self, text: str) -> None:
        """An image can be used, and something is odd about its file; names it."""
        with self._lock:
            self._remarks = Remarks(self._remarks.images + 1, self._remarks.first or text)

    def remarks(self) -> Remarks:
        """So far."""
        with self._lock:
            return self._remarks

    def read(self) -> list[Progress]:
        """The last state of each stage that has ended since the last call, then the present one."""
        self._look()
        with self._lock:
            ended, self._ended = self._ended, []
            if self._progress is None:
                return ended
            present = replace(self._measured(self._progress), under_way=self._looked[1])
            return [*ended, present]

    def _look(self) -> None:
        """Not under the lock: storage may be slow, and another stage begin meanwhile."""
        with self._lock:
            stage, look = self._begun, self._under_way
            when, found = self._looked
        if look is None or self._clock() - when <= _SECONDS_BETWEEN_LOOKS:
            return
        with suppress(Exception):  # It is only shown: whoever shows it must not end for it.
            found = look()
        with self._lock:
            if self._begun == stage:
                self._looked = (self._clock(), found)

    def _in(self, stage: Stage, total: int | None) -> Progress:
        """The progress of this stage, which begins unless it is the present one."""
        if self._progress is None or self._progress.stage is not stage:
            return self._begin(stage, total)
        return self._progress

    def _begin(self, stage: Stage, total: int | None) -> Progress:
        if self._progress is not None:
            self._ended.append(self._measured(self._progress))
        self._progress = Progress(stage, 0, total)
        self._seen = deque([(self._clock(), 0)])
        self._begun += 1
        self._under_way, self._looked = None, (-math.inf, 0)
        return self._progress

    def _measured(self, progress: Progress) -> Progress:
        now = self._clock()
        while len(self._seen) > 1 and now - self._seen[1][0] > _WINDOW_SECONDS:
            self._seen.popleft()
        begun, before = self._seen[0]
        self._seen.append((now, progress.done))
        rate = (progress.done - before) / (now - begun) if now > begun else 0.0
        processes = tuple(
            ProcessPlace(name=name, node=node, images=images, shards=shards)
            for (name, node), (images, shards) in sorted(self._credits.items())
        )
        return replace(progress, rate=rate, processes=processes)


@contextmanager
def reporting(meter: Meter, listener: ProgressListener) -> Iterator[None]:
    """Tells a listener, from a thread, how far a job is while the block runs.

    Of each stage it hears at least how it ended.

    Raises:
        BaseException: what the listener raised, as soon as something is counted, or when the block
            is over; unless the block failed by itself.
    """

    def report() -> None:
        for progress in meter.read():
            listener(progress)

    with repeating(report, POLL_SECONDS, "preprocessing-progress", last=report) as check:
        meter.check = check
        yield
