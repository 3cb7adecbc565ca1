"""The worker processes of an executor, as many as there are just now."""

import selectors
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from manylabel.preprocessing.errors import PreprocessingError
from manylabel.preprocessing.executors.worker_process import WorkerProcess
from manylabel.storage.full_disks import writing
from manylabel.storage.jobs import logs_of_this_job


class Workers:
    """Started one by one, and ended from whichever thread.

    Attributes:
        closed: all were told to end, and no other will be started.
    """

    def __init__(self) -> None:
        self._workers: list[WorkerProcess] = []
        self._started = 0
        self._selector = selectors.DefaultSelector()
        # Also of a signal's handler, which may come while its own thread is in here.
        self._lock = threading.RLock()
        self.closed = False

    def __iter__(self) -> Iterator[WorkerProcess]:
        return iter(self._workers)

    def __len__(self) -> int:
        return len(self._workers)

    def start(self) -> WorkerProcess:
        """Raises PreprocessingError if it cannot be started, or all have been told to end; OSError,
        which names it, if its log cannot be written."""
        with self._lock:
            self.check_open()
            logs = logs_of_this_job()
            worker = _start_logged(logs / f"worker-{self._started}.log") if logs else _start()
            self._started += 1
            self._workers.append(worker)
            self._selector.register(worker.connection, selectors.EVENT_READ, worker)
            if self.closed:  # by a signal's handler, meanwhile
                worker.kill()
            return worker

    def end(self, worker: WorkerProcess) -> int:
        """Ends one at once, if it has not ended by itself; its exit code, or minus its signal."""
        with self._lock:
            self._workers.remove(worker)
            self._selector.unregister(worker.connection)
            return worker.end()

    def with_answers(self, block: bool) -> list[WorkerProcess]:
        """Those that have said something, or have ended.

        Args:
            block: wait until there is one.

        Raises:
            PreprocessingError: all have been told to end.
        """
        self.check_open()
        ready = [key.data for key, _ in self._selector.select(None if block else 0)]
        self.check_open()
        return ready

    def check_open(self) -> None:
        if self.closed:
            raise PreprocessingError("the worker processes were told to end")

    def kill(self) -> None:
        """Ends all at once and for good; one who waits for an answer of theirs hears of it."""
        with self._lock:
            self.closed = True
            for worker in self._workers:
                worker.kill()

    def release(self) -> None:
        """Lets go of their files, once nobody waits for answers any more."""
        for worker in list(self._workers):
            self.end(worker)
        self._selector.close()


def _start(log: IO[bytes] | None = None) -> WorkerProcess:
    try:
        return WorkerProcess(log)
    except OSError as error:
        raise PreprocessingError(
            f"no worker process can be started: {error.strerror or error}; lower "
            "preprocessing.runner.processes"
        ) from error


def _start_logged(path: Path) -> WorkerProcess:
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        log = path.open("ab", buffering=0)
    with log:
        worker = _start(log)
        try:
            with writing(path):
                log.write(f"process {worker.pid} is at work\n".encode())
        except BaseException:
            worker.end()
            raise
    return worker
