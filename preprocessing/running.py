"""What the steps of a job that runs in this process share: who computes, and who is told.

Beam pickles the steps of a graph, also within one process, so they find these here. On another
machine there is nothing to be found: a step then works by itself and tells no one.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from manylabel.preprocessing.errors import PreprocessingError
from manylabel.preprocessing.executors import Executor, Inline, Task
from manylabel.preprocessing.progress import Meter, Stage


@dataclass(frozen=True)
class Running:
    """A job that is under way."""

    executor: Executor
    meter: Meter

    def settle(self, stage: Stage, task: Task, images: int, shards: int = 0) -> None:
        """The result that the executor gave last is of so many images, and of shards it wrote."""
        self.meter.advance(stage, images)
        self.meter.credit(task, self.executor.node, images, shards)


_running: Running | None = None
_lock = threading.Lock()


def here() -> Running:
    """The job that runs in this process."""
    return _running or Running(Inline(), Meter())


@contextmanager
def running(executor: Executor, meter: Meter) -> Iterator[None]:
    """Steps find these two during the block.

    Raises:
        PreprocessingError: another job runs in this process.
    """
    global _running
    with _lock:
        if _running is not None:
            raise PreprocessingError("expected one preprocessing job at a time in a process")
        _running = Running(executor, meter)
    try:
        yield
    finally:
        _running = None
