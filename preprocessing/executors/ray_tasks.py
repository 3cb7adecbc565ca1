"""Work as tasks on a Ray cluster, which repeats those whose worker or node was lost."""

import functools
import math
import os
import pickle
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, NamedTuple

import ray
from ray.exceptions import OutOfMemoryError, RayError, WorkerCrashedError

from manylabel.cluster.errors import ClusterError
from manylabel.cluster.ray_cluster import ray_cluster
from manylabel.preprocessing.errors import PreprocessingError
from manylabel.preprocessing.executors.executor import ATTEMPTS, Lost, batches
from manylabel.preprocessing.executors.outcomes import Done, Raised, attempt

_AHEAD = 3
"""Batches per CPU of the cluster that are under way: at work, on their way, and done while an
earlier one takes long."""
_SECONDS_BETWEEN_COUNTS = 5.0
_STORE_BYTES = 128 * 2**20
"""Of a cluster that is started here: what is sent are names, facts and places."""


_CRASHES = (WorkerCrashedError, OutOfMemoryError)


@contextmanager
def ray_tasks(address: str | None) -> Iterator["RayTasks"]:
    """Joins the cluster at `address`, or starts one on this machine for as long as it is needed.

    Raises:
        PreprocessingError: it cannot be reached, or started.
    """
    cpus = len(os.sched_getaffinity(0))
    # Otherwise a task that wants more memory than there is would be repeated for ever.
    system_config = {"task_oom_retries": ATTEMPTS - 1}
    with ExitStack() as stack:
        try:
            stack.enter_context(ray_cluster(address, cpus, _STORE_BYTES, system_config))
        except ClusterError as error:
            raise PreprocessingError(str(error)) from error
        yield RayTasks()


class RayTasks:
    """An executor on the cluster that this process is in."""

    def map(
        self, function: Callable[[Any], Any], items: Iterable[Any], batch: int
    ) -> Iterator[Any]:
        stage = getattr(function, "func", function)  # of a functools.partial
        task = ray.remote(_run).options(
            name=getattr(stage, "__name__", repr(stage)), num_cpus=1, max_retries=ATTEMPTS - 1
        )
        unread = batches(items, batch)
        window: deque[_Batch] = deque()
        cpus = _Cpus()
        try:
            start = functools.partial(task.remote, ray.put(function))
            while True:
                while len(window) < _AHEAD * cpus.count():
                    taken = next(unread, None)
                    if taken is None:
                        break
                    window.append(_Batch(taken, start(taken)))
                if not window:
                    return
                for outcome in _outcomes(window[0], start):
                    if isinstance(outcome, Raised):
                        raise outcome.error
                    yield outcome if isinstance(outcome, Lost) else outcome.result
                window.popleft()
        except RayError as error:
            raise PreprocessingError(
                f"the Ray cluster failed ({one_line(error)}); run the same command again"
            ) from error
        finally:
            for under_way in window:
                _cancel(under_way.answers)


class _Batch(NamedTuple):
    items: list[Any]
    answers: ray.ObjectRef


def _run(function: Callable[[Any], Any], items: list[Any]) -> list[bytes]:
    return [attempt(function, item) for item in items]


def _outcomes(
    batch: _Batch, start: Callable[[list[Any]], ray.ObjectRef]
) -> Iterator[Done | Raised | Lost]:
    """Waits for a batch; if it ended its worker each time, tries its items one by one."""
    try:
        answers = ray.get(batch.answers)
    except _CRASHES as crash:
        if len(batch.items) == 1:
            yield Lost(f"its Ray worker ended three times ({one_line(crash)})")
            return
    else:
        yield from map(pickle.loads, answers)
        return
    for item in batch.items:
        yield from _outcomes(_Batch([item], start([item])), start)


class _Cpus:
    """Those of the cluster, counted now and then: nodes come and go."""

    def __init__(self) -> None:
        self._count = 1
        self._counted = -math.inf

    def count(self) -> int:
        if time.monotonic() > self._counted + _SECONDS_BETWEEN_COUNTS:
            self._counted = time.monotonic()
            self._count = max(1, int(ray.cluster_resources().get("CPU", 0)))
        return self._count


def _cancel(answers: ray.ObjectRef) -> None:
    with suppress(RayError):  # it is over, or the cluster is
        ray.cancel(answers, force=True)


def one_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
