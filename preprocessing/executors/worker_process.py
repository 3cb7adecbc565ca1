"""The parent's side of a worker process."""

import os
from collections import deque
from typing import IO

from manylabel.preprocessing.executors.batch import Batch
from manylabel.storage.own_process import OwnProcess

_ONE_THREAD = dict.fromkeys(
    (
        "OMP_NUM_THREADS",  # pyarrow's too
        "OPENBLAS_NUM_THREADS",
        "MKL_NUM_THREADS",
        "NUMBA_NUM_THREADS",
    ),
    "1",
)


KEPT_MEMORY = {
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(64 << 20),
}
"""Bytes, of glibc's malloc. Pictures come and go at some megabytes each: given back to the system
each time, their memory costs a quarter of the time that it takes to store one."""


class WorkerProcess(OwnProcess):
    """A process that is started at once, and what it has been given to do.

    Attributes:
        batches: given to it and not done; it works on the first.
        started: it listens.
        loaded: number of the map whose function it has, 0 before the first.

    Args:
        output: the file that it prints to; None: where this process does.
    """

    def __init__(self, output: IO[bytes] | None = None) -> None:
        super().__init__(
            "manylabel.preprocessing.executors.worker",
            {**_ONE_THREAD, **KEPT_MEMORY, **os.environ},
            output,
        )
        self.batches: deque[Batch] = deque()
        self.started = False
        self.loaded = 0
