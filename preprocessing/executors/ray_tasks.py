"""Work as tasks on a Ray cluster, on all of its nodes; what is lost with a worker or node is done
again."""

import errno
import os
import threading
import weakref
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import ray
from ray.exceptions import (
    AuthenticationError,
    RayError,
    RayTaskError,
)
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from manylabel.cluster.errors import ClusterError
from manylabel.cluster.head import Head
from manylabel.cluster.open_files import check_open_files
from manylabel.cluster.ray_cluster import ray_cluster
from manylabel.cluster.reachable import check_reachable, own_cluster
from manylabel.cluster.shared_memory import full_here
from manylabel.preprocessing.config import RunnerConfig
from manylabel.preprocessing.errors import ClusterLostError, PreprocessingError
from manylabel.preprocessing.executors.executor import Task, batches
from manylabel.preprocessing.executors.ray_map import TaskMap
from manylabel.preprocessing.executors.ray_nodes import Demand, check_nodes
from manylabel.preprocessing.executors.ray_work import run
from manylabel.preprocessing.executors.sight import Sight
from manylabel.storage.errors import Transient
from manylabel.storage.full_disks import remedy
from manylabel.storage.jobs import logs_of_this_job

_STORE_BYTES = 128 * 2**20  # of a cluster that is started here: what travels are names and facts


@contextmanager
def ray_tasks(config: RunnerConfig, dataset: str, sight: Sight) -> Iterator["RayTasks"]:
    """Joins the cluster at the address set, or starts one on this machine for as long as it is
    needed. Inside a Ray job no address means the job's cluster.

    Args:
        dataset: its name, which tasks are named by.
        sight: what all nodes must see.

    Raises:
        PreprocessingError: it cannot be reached, or started, or has no room, or a node does not see
            the places that all share.
    """
    cpus = len(os.sched_getaffinity(0))
    with ExitStack() as stack:
        try:
            stack.enter_context(ray_cluster(config.address, cpus, _STORE_BYTES))
        except ClusterError as error:
            raise _cannot_join(error) from error
        executor = RayTasks(Demand(config.cpus, config.memory), dataset, sight)
        stack.callback(executor.close)
        with executor.cluster():
            check_nodes(sight)
        yield executor


def check_address(address: str | None) -> None:
    """Raises PreprocessingError within ten seconds if no cluster answers there; None is that of the
    Ray job that this process is in, if it is in one, and else is yet to be started here."""
    try:
        check_reachable(address)
        if (address or own_cluster()) is None and not ray.is_initialized():
            check_open_files(len(os.sched_getaffinity(0)))
    except ClusterError as error:
        raise _cannot_join(error) from error


def _cannot_join(error: ClusterError) -> PreprocessingError:
    kind = ClusterLostError if isinstance(error, Transient) else PreprocessingError
    return kind(str(error))


class RayTasks:
    """An executor on the cluster that this process is in.

    Attributes:
        demand: what each task asks for.
        node: see Executor.
    """

    def __init__(self, demand: Demand, dataset: str, sight: Sight | None = None) -> None:
        self.demand = demand
        self.node = ""
        self._dataset = dataset
        self._sight = sight
        self._logs = logs_of_this_job()
        self._head = Head(ray.get_runtime_context().gcs_address, lost_head)
        self._talking = threading.Lock()
        self._closed = False
        self._maps: weakref.WeakSet[TaskMap] = weakref.WeakSet()

    def map(
        self,
        function: Callable[[Any], Any],
        items: Iterable[Any],
        batch: int,
        task: Task | None = None,
    ) -> Generator[Any, None, None]:
        called = getattr(function, "func", function)  # of a functools.partial
        stage = str(task or getattr(called, "__name__", None) or called)
        remote = ray.remote(run)

        def start(some: list[Any], node: str | None) -> ray.ObjectRef:
            task = remote.options(
                name=f"{self._dataset}/{stage}",
                num_cpus=self.demand.cpus,
                memory=self.demand.memory,
                # By Ray's own rule a node is filled to the half before the next gets anything.
                scheduling_strategy="SPREAD"
                if node is None
                else NodeAffinitySchedulingStrategy(node, soft=True),
                # Ray repeats for ever what ended for want of memory.
                max_retries=0,
            )
            return task.remote(function, some, self._sight, self._logs)

        work = TaskMap(self, start, batches(items, batch))
        self._maps.add(work)
        return work.results()

    @contextmanager
    def cluster(self) -> Iterator[None]:
        """For each talk with Ray, which must be short.

        Whoever asks Ray for anything after the cluster was left is given a new one, with open
        doors: so a map in another thread must not.

        Raises:
            PreprocessingError: Ray failed, or the executor is closed.
            ClusterLostError: the cluster went away.
        """
        with self._talking:
            if self._closed:
                raise PreprocessingError("the Ray cluster was left before the work was done")
            try:
                yield
            except RayError as error:
                raise _described(error) from error

    def head_answers(self) -> bool:
        """See Head.answers; what asks the head for anything waits until it does."""
        return self._head.answers()

    def close(self) -> None:
        """From whichever thread; a map that is under way ends and fails."""
        with suppress(PreprocessingError), self.cluster():
            self._closed = True
            for work in list(self._maps):
                work.cancel()


def lost_head(what: str) -> ClusterLostError:
    """The error of a head that has been silent for long."""
    return ClusterLostError(
        f"{what}; run the same command again when the cluster is back, finished work is kept"
    )


def _described(error: RayError) -> PreprocessingError:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    if isinstance(error, RayTaskError):  # of the way to our task, which raises nothing itself
        return PreprocessingError(
            f"a node of the Ray cluster cannot run the task: {lines[-1]}; install this version of "
            "manylabel on every node"
        )
    if isinstance(error, AuthenticationError):
        return PreprocessingError(f"the Ray cluster refuses this job: {lines[0]}")
    if full := full_here(error):
        return PreprocessingError(
            f"the Ray cluster failed: {lines[0]}; {full}; {remedy(errno.ENOSPC)}, then give the "
            "same command again, finished work is kept"
        )
    return ClusterLostError(
        f"the Ray cluster failed: {lines[0]}; run the same command again, finished work is kept"
    )
