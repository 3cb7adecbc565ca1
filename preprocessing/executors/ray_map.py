"""One map on a Ray cluster: which batches are under way, and what became of them."""

import errno
import math
import pickle
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from itertools import cycle
from typing import Any, Protocol

import ray
from ray.exceptions import (
    NodeDiedError,
    ObjectLostError,
    OutOfMemoryError,
    RayError,
    WorkerCrashedError,
)

from manylabel.cluster.shared_memory import full_here
from manylabel.preprocessing.errors import ClusterLostError, PreprocessingError
from manylabel.preprocessing.executors.executor import Losses, Lost
from manylabel.preprocessing.executors.lost_tasks import (
    NODE_LOSSES,
    End,
    History,
    Next,
    given_up,
)
from manylabel.preprocessing.executors.outcomes import Raised
from manylabel.preprocessing.executors.ray_nodes import Demand, alive_nodes, unfit
from manylabel.preprocessing.executors.ray_work import Answer, Unseen
from manylabel.storage.full_disks import remedy
from manylabel.storage.jobs import is_retry

AHEAD = 3
"""Batches that are under way for each that the cluster can work on: at work, on their way, and done
while an earlier one takes long."""
_SECONDS_BETWEEN_COUNTS = 5.0  # of nodes, which come and go; and between looks for lost batches
_SECONDS_TO_LISTEN = 0.2  # what another thread that closes the executor waits at most
_SECONDS_TO_FAIL = 10.0
"""Of tasks on a node that Ray has given up. Of one whose cable is cut, they do not: Ray waits for
their answers for minutes."""
_SECONDS_WITHOUT_ROOM = 60.0  # once all nodes that had room are gone; time to start one anew


class OnRay(Protocol):
    """The executor of a map; see RayTasks."""

    demand: Demand
    node: str

    def cluster(self) -> AbstractContextManager[None]: ...

    def head_answers(self) -> bool: ...


@dataclass
class _Batch:
    items: list[Any]
    history: History = field(default_factory=History)
    task: ray.ObjectRef | None = None  # while one is under way
    started: float = 0.0  # when it was
    answer: Answer | Lost | None = None  # once there is one


class TaskMap:
    """One map: a window of batches in the order of the items."""

    def __init__(
        self,
        executor: OnRay,
        start: Callable[[list[Any], str | None], ray.ObjectRef],
        unread: Iterator[list[Any]],
    ) -> None:
        self._executor = executor
        self._start_task = start
        self._unread = unread
        self._window: deque[_Batch] = deque()
        self._room = 0
        self._read_all = False
        self._nodes: set[str] = set()
        self._node_lost = -math.inf
        self._turns: Iterator[str] | None = None  # of nodes, once one was lost
        self._abandoned: list[ray.ObjectRef] = []
        # An earlier attempt had it: what was lost since may come back.
        self._had_room = time.monotonic() if is_retry() else -math.inf
        self._counted = -math.inf

    def results(self) -> Generator[Any, None, None]:
        losses = Losses()
        try:
            while True:
                self._look_after()
                self._read_ahead()
                if not self._window:
                    if self._read_all:
                        return
                    time.sleep(_SECONDS_TO_LISTEN)  # there is no room yet
                    continue
                batch = self._window[0]
                if batch.answer is None:
                    self._await(batch)
                    continue
                self._window.popleft()
                for item, outcome in zip(batch.items, self._outcomes(batch), strict=True):
                    losses.note(item, outcome)
                    if isinstance(outcome, Raised):
                        raise outcome.error
                    yield outcome if isinstance(outcome, Lost) else outcome.result
        finally:
            with suppress(PreprocessingError), self._executor.cluster():  # it may have failed
                self.cancel()

    def _outcomes(self, batch: _Batch) -> Iterable[Any]:
        if isinstance(batch.answer, Lost):
            return [batch.answer]
        assert batch.answer is not None
        node, outcomes = batch.answer
        self._executor.node = node
        if isinstance(outcomes, Unseen):
            raise PreprocessingError(unfit(node, outcomes.problem))
        return map(pickle.loads, outcomes)

    def _look_after(self) -> None:
        """Every few seconds: counts what there is room for, and finds batches that were lost."""
        if time.monotonic() < self._counted + _SECONDS_BETWEEN_COUNTS:
            return
        if not self._executor.head_answers():
            return
        with self._executor.cluster():
            nodes = alive_nodes()
            self._room = AHEAD * self._executor.demand.room(nodes)
            self._counted = time.monotonic()
            if not self._nodes <= nodes.keys():
                self._node_lost = self._counted
            if self._node_lost > 0 or self._turns is not None:
                self._turns = cycle(self._executor.demand.places(nodes))
            self._nodes = set(nodes)
            if self._room:
                self._had_room = self._counted
            elif self._counted > self._had_room + _SECONDS_WITHOUT_ROOM:
                lack = self._executor.demand.lack(nodes)
                if self._had_room == -math.inf:
                    raise PreprocessingError(
                        f"{lack}; lower preprocessing.runner.cpus or runner.memory, or join a "
                        "larger cluster"
                    )
                raise ClusterLostError(
                    f"{lack}, since other nodes were lost; run the same command again when they "
                    "are back, finished work is kept"
                )
            under_way = {batch.task: batch for batch in self._window if batch.task is not None}
            done, _ = (
                ray.wait(list(under_way), num_returns=len(under_way), timeout=0)
                if under_way
                else ([], [])
            )
            for task in done:
                self._fetch(under_way[task])
            if self._counted > self._node_lost + _SECONDS_TO_FAIL:
                self._abandon(self._node_lost)
                self._node_lost = -math.inf

    def _abandon(self, moment: float) -> None:
        """Does again what was begun before; nobody knows on which node, and twice does no harm."""
        for batch in self._window:
            if batch.task is not None and batch.started < moment:
                self._abandoned.append(batch.task)
                batch.task = None
                self._lost(batch, End.NODE)

    def _read_ahead(self) -> None:
        while len(self._window) < self._room and not self._read_all:
            items = next(self._unread, None)
            if items is None:
                self._read_all = True
                return
            self._window.append(_Batch(items))
            with self._executor.cluster():
                self._start(self._window[-1])

    def _start(self, batch: _Batch) -> None:
        # Ray may wait for a lost node's word before it asks another: so it is told which.
        node = next(self._turns, None) if self._turns is not None else None
        batch.task = self._start_task(batch.items, node)
        batch.started = time.monotonic()

    def _await(self, batch: _Batch) -> None:
        """Returns when the first batch has an answer or was lost, or after a moment."""
        self._executor.head_answers()
        with self._executor.cluster():
            if batch.task is None:  # it is its turn
                self._start(batch)
            if ray.wait([batch.task], timeout=_SECONDS_TO_LISTEN)[0]:
                self._fetch(batch)

    def _fetch(self, batch: _Batch) -> None:
        """The answer of a task that has ended, or what follows from its end."""
        task, batch.task = batch.task, None
        try:
            batch.answer = ray.get(task)
        except (WorkerCrashedError, OutOfMemoryError, NodeDiedError, ObjectLostError) as error:
            self._lost(batch, _end(error))

    def _lost(self, batch: _Batch, end: End) -> None:
        batch.history = batch.history.after(end)
        match batch.history.next(end, len(batch.items)):
            case Next.AT_ONCE:
                self._start(batch)
            case Next.AT_ITS_TURN:
                pass
            case Next.ONE_BY_ONE:
                at = self._window.index(batch)
                self._window.remove(batch)
                for item in reversed(batch.items):
                    self._window.insert(at, _Batch([item]))
            case Next.GIVEN_UP:
                if full := full_here():  # It ends processes, and is no fault of an image.
                    raise PreprocessingError(
                        f"processes of Ray end: {full}; {remedy(errno.ENOSPC)}, then give the same "
                        "command again, finished work is kept"
                    )
                batch.answer = given_up(end)
            case Next.HOPELESS:
                raise ClusterLostError(
                    f"the same work lost its node {NODE_LOSSES} times; run the same command again "
                    "when nodes of the Ray cluster stay, finished work is kept"
                )

    def cancel(self) -> None:
        """Ends what is under way at once."""
        under_way = [batch.task for batch in list(self._window) if batch.task is not None]
        for task in (*under_way, *self._abandoned):
            ray.cancel(task, force=True)


def _end(error: RayError) -> End:
    if isinstance(error, OutOfMemoryError):
        return End.MEMORY
    return End.WORKER if isinstance(error, WorkerCrashedError) else End.NODE
