"""Work as tasks on a Ray cluster, which repeats those whose worker or node was lost."""

import math
import os
import pickle
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import OutOfMemoryError, RayError, RayTaskError, WorkerCrashedError

from manylabel.cluster.errors import ClusterError
from manylabel.cluster.ray_cluster import ray_cluster
from manylabel.preprocessing.errors import PreprocessingError
from manylabel.preprocessing.executors.executor import ATTEMPTS, Losses, Lost, batches
from manylabel.preprocessing.executors.outcomes import Done, Raised, attempt

_AHEAD = 3
"""Batches per CPU of the cluster that are under way: at work, on their way, and done while an
earlier one takes long."""
_SECONDS_BETWEEN_COUNTS = 5.0  # of CPUs: nodes come and go
_SECONDS_TO_LISTEN = 0.2  # what another thread that closes the executor waits at most
_STORE_BYTES = 128 * 2**20  # of a cluster that is started here: what travels are names and facts


@contextmanager
def ray_tasks(address: str | None) -> Iterator["RayTasks"]:
    """Joins the cluster at `address`, or starts one on this machine for as long as it is needed.

    Raises:
        PreprocessingError: it cannot be reached, or started.
    """
    cpus = len(os.sched_getaffinity(0))
    # By Ray's default a task that wants more memory than there is is repeated for ever.
    system_config = {"task_oom_retries": ATTEMPTS - 1}
    with ExitStack() as stack:
        try:
            stack.enter_context(ray_cluster(address, cpus, _STORE_BYTES, system_config))
        except ClusterError as error:
            raise PreprocessingError(str(error)) from error
        executor = RayTasks()
        stack.callback(executor.close)
        yield executor


class RayTasks:
    """An executor on the cluster that this process is in."""

    def __init__(self) -> None:
        self._talking = threading.Lock()
        self._closed = False
        self._maps: weakref.WeakSet[_Map] = weakref.WeakSet()

    def map(
        self, function: Callable[[Any], Any], items: Iterable[Any], batch: int
    ) -> Generator[Any, None, None]:
        work = _Map(self, function, batches(items, batch))
        self._maps.add(work)
        return work.results()

    @contextmanager
    def cluster(self) -> Iterator[None]:
        """For each talk with Ray, which must be short.

        Whoever asks Ray for anything after the cluster was left is given a new one, with open
        doors: so a map in another thread must not.

        Raises:
            PreprocessingError: Ray failed, or the executor is closed.
        """
        with self._talking:
            if self._closed:
                raise PreprocessingError("the Ray cluster was left before the work was done")
            try:
                yield
            except RayError as error:
                raise PreprocessingError(_describe(error)) from error

    def close(self) -> None:
        """From whichever thread; a map that is under way ends and fails."""
        with suppress(PreprocessingError), self.cluster():
            self._closed = True
            for work in list(self._maps):
                work.cancel()


@dataclass
class _Batch:
    items: list[Any]
    answers: ray.ObjectRef | None = None  # once its task is under way


class _Map:
    """One map: a window of batches in the order of the items."""

    def __init__(
        self, executor: RayTasks, function: Callable[[Any], Any], unread: Iterator[list[Any]]
    ) -> None:
        self._executor = executor
        self._unread = unread
        self._window: deque[_Batch] = deque()
        self._room = 0
        self._counted = -math.inf
        stage = getattr(function, "func", function)  # of a functools.partial
        self._task = ray.remote(_run).options(
            name=getattr(stage, "__name__", repr(stage)), num_cpus=1, max_retries=ATTEMPTS - 1
        )
        with executor.cluster():
            self._function = ray.put(function)

    def results(self) -> Generator[Any, None, None]:
        losses = Losses()
        try:
            while True:
                self._read_ahead()
                if not self._window:
                    return
                outcomes = self._await_first()
                batch = self._window.popleft()
                if outcomes is None:
                    # One item did it: each is tried again alone, when it is its turn.
                    self._window.extendleft(_Batch([item]) for item in reversed(batch.items))
                    continue
                for item, outcome in zip(batch.items, outcomes, strict=True):
                    losses.note(item, outcome)
                    if isinstance(outcome, Raised):
                        raise outcome.error
                    yield outcome if isinstance(outcome, Lost) else outcome.result
        finally:
            with suppress(PreprocessingError), self._executor.cluster():  # it may have failed
                self.cancel()

    def _read_ahead(self) -> None:
        if time.monotonic() > self._counted + _SECONDS_BETWEEN_COUNTS:
            self._counted = time.monotonic()
            with self._executor.cluster():
                self._room = _AHEAD * max(1, int(ray.cluster_resources().get("CPU", 0)))
        while len(self._window) < self._room and (items := next(self._unread, None)):
            self._window.append(_Batch(items))
            self._start(self._window[-1])

    def _start(self, batch: _Batch) -> None:
        with self._executor.cluster():
            batch.answers = self._task.remote(self._function, batch.items)

    def _await_first(self) -> Iterable[Done | Raised | Lost] | None:
        """None if the batch ended its worker each time."""
        batch = self._window[0]
        if batch.answers is None:
            self._start(batch)
        while True:
            with self._executor.cluster():
                if not ray.wait([batch.answers], timeout=_SECONDS_TO_LISTEN)[0]:
                    continue
                try:
                    answers = ray.get(batch.answers)
                except (WorkerCrashedError, OutOfMemoryError) as crash:
                    memory = isinstance(crash, OutOfMemoryError)
                    end = ", the last time for want of memory" if memory else ""
                    lost = Lost(f"its process ended three times{end}")
                    return [lost] if len(batch.items) == 1 else None
                return map(pickle.loads, answers)

    def cancel(self) -> None:
        """Ends what is under way at once."""
        for batch in list(self._window):
            if batch.answers is not None:
                ray.cancel(batch.answers, force=True)


def _run(function: Callable[[Any], Any], items: list[Any]) -> list[bytes]:
    """The task."""
    return [attempt(function, item) for item in items]


def _describe(error: RayError) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    if isinstance(error, RayTaskError):  # of the way to our task, which raises nothing itself
        return (
            f"a node of the Ray cluster cannot run the task: {lines[-1]}; install this version of "
            "manylabel on every node"
        )
    return f"the Ray cluster failed: {lines[0]}; run the same command again"
