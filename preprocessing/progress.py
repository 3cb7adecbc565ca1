"""How far a job is, for whoever shows it."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum

from upath import UPath

POLL_SECONDS = 0.5


class Stage(StrEnum):
    """What a job does, in this order; stages with nothing to do are left out."""

    READ_CATALOG = "reading the catalog"
    CHECK_IMAGES = "checking images"
    VERIFY_SHARDS = "verifying shards"
    WRITE_SHARDS = "writing shards"


@dataclass(frozen=True, slots=True)
class Progress:
    """`done` of `total` shards; None while a stage cannot count."""

    stage: Stage
    done: int = 0
    total: int | None = None


ProgressListener = Callable[[Progress], None]


@contextmanager
def watching_files(
    paths: Sequence[UPath], stage: Stage, listener: ProgressListener
) -> Iterator[None]:
    """Reports how many of `paths` there are, from a thread, while the block runs.

    Files appear by rename, so counting them is all it takes, whatever processes write them.
    """
    finished = threading.Event()

    def report() -> None:
        listener(Progress(stage, sum(path.is_file() for path in paths), len(paths)))

    def watch() -> None:
        while not finished.wait(POLL_SECONDS):
            report()

    thread = threading.Thread(target=watch, name="preprocessing-progress", daemon=True)
    report()
    thread.start()
    try:
        yield
    finally:
        finished.set()
        thread.join()
        report()
