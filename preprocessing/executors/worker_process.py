"""The parent's side of a worker process."""

import os
import pickle
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from multiprocessing.connection import Pipe
from pathlib import Path
from typing import IO, Any

from manylabel.preprocessing.executors.batch import Batch
from manylabel.storage.stop_signals import STOP_SIGNALS

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


class WorkerProcess:
    """A process that is started at once, and what it has been given to do.

    Attributes:
        batches: given to it and not done; it works on the first.
        started: it listens.
        loaded: number of the map whose function it has, 0 before the first.

    Args:
        log: the file that it prints to; None: where this process does.
    """

    def __init__(self, log: Path | None = None) -> None:
        self.batches: deque[Batch] = deque()
        self.started = False
        self.loaded = 0
        self.connection, theirs = Pipe()
        their_lifeline, self._lifeline = Pipe(duplex=False)
        with theirs, their_lifeline, _appended(log) as output:
            self._process = _start(theirs.fileno(), their_lifeline.fileno(), output)
            if output is not None:
                output.write(f"process {self._process.pid} is at work\n".encode())

    def send(self, message: Any) -> None:
        """Never raises because the process has ended: the end of its answers says so."""
        payload = pickle.dumps(message)
        with suppress(BrokenPipeError, ConnectionResetError):
            self.connection.send_bytes(payload)

    def kill(self) -> None:
        """Ends it at once, and waits until it is gone; what it answered can still be read."""
        self._process.kill()
        self._process.wait()

    def end(self) -> int:
        """Ends it at once, if it has not ended by itself.

        Returns:
            Its exit code, or minus the signal that ended it.
        """
        self.kill()
        self.connection.close()
        self._lifeline.close()
        return self._process.returncode


@contextmanager
def _appended(log: Path | None) -> Iterator[IO[bytes] | None]:
    if log is None:
        yield None
        return
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab", buffering=0) as file:
        yield file


def _start(connection: int, lifeline: int, output: IO[bytes] | None) -> subprocess.Popen[bytes]:
    """Starts the interpreter anew; neither the user's script nor the current folder is run.

    multiprocessing's spawn would import the script again, and whatever bears the name of one of
    Python's modules in the current folder.
    """
    environment: Mapping[str, str] = {**_ONE_THREAD, **KEPT_MEMORY, **os.environ}
    main = "from manylabel.preprocessing.executors.worker import main"
    command = [sys.executable, "-P", "-c", f"{main}; main({connection}, {lifeline})"]
    # The worker inherits it and never hears of what a terminal or scheduler tells the whole group:
    # when to stop is for the parent to decide.
    # SIGUSR2 would end it until it is there to show its stacks.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {*STOP_SIGNALS, signal.SIGUSR2})
    try:
        return subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=(connection, lifeline),
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def describe_end(code: int) -> str:
    """As in "by signal 9 (SIGKILL)" or "with exit code 1"."""
    if code >= 0:
        return f"with exit code {code}"
    try:
        return f"by signal {-code} ({signal.Signals(-code).name})"
    except ValueError:  # a real-time one
        return f"by signal {-code}"
