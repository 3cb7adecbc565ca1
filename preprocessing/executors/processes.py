"""Work in several processes on this machine, which are replaced when they end."""

import pickle
import socket
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any

from manylabel.preprocessing.errors import PreprocessingError
from manylabel.preprocessing.executors.batch import Batch
from manylabel.preprocessing.executors.executor import ATTEMPTS, Losses, Lost, Task, batches
from manylabel.preprocessing.executors.outcomes import Done, Raised
from manylabel.preprocessing.executors.worker import Load, Loaded, Started, Work
from manylabel.preprocessing.executors.worker_process import WorkerProcess
from manylabel.preprocessing.executors.workers import Workers
from manylabel.storage.own_process import describe_end

_AHEAD = 4
"""Batches per worker that are under way: one at work, one at hand, and the results of two that are
done while an earlier one takes long."""
_AT_HAND = 2


class Processes:
    """An executor whose workers come when there is work, and stay for the next map."""

    node = socket.gethostname()

    def __init__(self, processes: int) -> None:
        self._processes = processes
        self._workers = Workers()
        self._maps = 0
        self._at_work = threading.Lock()

    def map(
        self,
        function: Callable[[Any], Any],
        items: Iterable[Any],
        batch: int,
        task: Task | None = None,
    ) -> Generator[Any, None, None]:
        self._workers.check_open()
        if not self._at_work.acquire(blocking=False):
            raise RuntimeError("expected the end of one map before the next")
        try:
            self._maps += 1
            load = Load(self._maps, pickle.dumps(function))
            under_way = _Map(self._workers, self._processes, load, batches(items, batch))
            yield from under_way.results()
        finally:
            for worker in [worker for worker in self._workers if worker.batches]:
                self._workers.end(worker)
            self._at_work.release()

    def close(self) -> None:
        """Ends the workers, from whichever thread; a map that is under way fails."""
        self._workers.kill()
        if self._at_work.acquire(blocking=False):  # else a map may wait at them still
            self._workers.release()


class _Map:
    """One map: a window of batches in the order of the items, of which workers have some."""

    def __init__(
        self, workers: Workers, processes: int, load: Load, unread: Iterator[list[Any]]
    ) -> None:
        self._workers = workers
        self._processes = processes
        self._load = load
        self._unread = unread
        self._window: deque[Batch] = deque()
        self._waiting: deque[Batch] = deque()  # those that no worker has
        self._failed_starts = 0
        self._losses = Losses()

    def results(self) -> Iterator[Any]:
        for worker in self._workers:
            if worker.started:
                worker.send(self._load)
        while True:
            self._read_ahead()
            if not self._window:
                return
            head = self._window[0]
            self._serve(block=not head.outcomes)
            while head.outcomes:
                outcome = head.outcomes.popleft()
                if head.is_fetched():
                    self._window.popleft()
                if isinstance(outcome, Raised):
                    raise outcome.error
                yield outcome if isinstance(outcome, Lost) else outcome.result

    def _read_ahead(self) -> None:
        while len(self._window) < _AHEAD * self._processes:
            items = next(self._unread, None)
            if items is None:
                return
            self._window.append(Batch(items))
            self._waiting.append(self._window[-1])

    def _serve(self, block: bool) -> None:
        """Gives out what waits, and takes in answers."""
        under_way = sum(not batch.is_done() for batch in self._window)
        while len(self._workers) < min(self._processes, under_way):
            self._workers.start()
        self._deal()
        for worker in self._workers.with_answers(block):
            try:
                answer = worker.connection.recv()
            except (EOFError, OSError):
                self._bury(worker)
            else:
                self._take(worker, answer)

    def _deal(self) -> None:
        busy = [worker for worker in self._workers if worker.batches]
        if any(worker.batches[0].is_suspect() for worker in busy):
            return
        suspect = next((batch for batch in self._waiting if batch.is_suspect()), None)
        if suspect is not None:
            # It is tried once more beside no other, whose memory it might have been.
            worker = next(filter(self._is_ready, self._workers), None)
            if not busy and worker is not None:
                self._waiting.remove(suspect)
                self._give(worker, suspect)
            return
        for at_hand in range(_AT_HAND):
            for worker in filter(self._is_ready, self._workers):
                if self._waiting and len(worker.batches) == at_hand:
                    self._give(worker, self._waiting.popleft())

    def _is_ready(self, worker: WorkerProcess) -> bool:
        return worker.loaded == self._load.number

    def _give(self, worker: WorkerProcess, batch: Batch) -> None:
        worker.batches.append(batch)
        worker.send(Work(batch.open_items()))

    def _take(self, worker: WorkerProcess, answer: Any) -> None:
        if isinstance(answer, Started):
            worker.started = True
            worker.send(self._load)
        elif isinstance(answer, Loaded):
            if answer.error is None:
                worker.loaded = answer.number
                self._failed_starts = 0
            elif answer.number == self._load.number:  # else it is of a map that is over
                raise answer.error
        else:
            self._settle(worker, answer)

    def _bury(self, worker: WorkerProcess) -> None:
        """Puts what a worker had back in front, and holds its end against the item it was at."""
        code = self._workers.end(worker)
        how = describe_end(code)
        if worker.loaded == 0:
            self._failed_starts += 1
            if code >= 0 or self._failed_starts == ATTEMPTS * self._processes:
                raise PreprocessingError(
                    f"worker processes end {how} before they can work, perhaps for want of memory"
                )
            return
        if worker.batches:
            worker.batches[0].deaths += 1
            if worker.batches[0].deaths == ATTEMPTS:
                self._settle(worker, Lost(f"its process ended three times, the last time {how}"))
        self._waiting.extendleft(reversed(worker.batches))
        worker.batches.clear()

    def _settle(self, worker: WorkerProcess, outcome: Done | Raised | Lost) -> None:
        """Of the item that the worker is at."""
        batch = worker.batches[0]
        self._losses.note(batch.first_open_item(), outcome)
        batch.settle(outcome)
        if batch.is_done():
            worker.batches.popleft()
