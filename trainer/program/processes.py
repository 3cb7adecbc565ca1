"""The processes of a training job as Ray's actors, and how they see each other.

Handles implement `trainer.plane.protocols`, so that the classes behind them cannot tell actors from
plain objects.
"""

import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numba
import ray
from ray.actor import ActorHandle

from manylabel.storage.errors import reason_of
from manylabel.storage.jobs import log_to
from manylabel.storage.stacks import show_stacks_on_signal
from manylabel.trainer.errors import UnseenPathError
from manylabel.trainer.plane.optimizers import FloatVector
from manylabel.trainer.plane.protocols import Answer, Answers, GradientReport, Snapshot, Wait
from manylabel.trainer.plane.shard import UpdateId
from manylabel.trainer.program.losses import plain_answer
from manylabel.trainer.program.plan import SHARED, TrainingPlan
from manylabel.trainer.records.reader import BadRecordReport


class RayShards:
    """All shard actors; implements WorkerShards and CoordinatorShards.

    Ray runs the calls of one caller to one actor in the order they were made. So what the
    coordinator asks of every shard takes effect at the same place of each shard's history.
    """

    def __init__(self, actors: Sequence[ActorHandle]) -> None:
        self._actors = actors
        self._snapshot: Snapshot | None = None

    def stage(
        self, update: UpdateId, gradient: Sequence[FloatVector], statistics: Sequence[FloatVector]
    ) -> Answers:
        """See `WorkerShards.stage`."""
        return [
            actor.call.remote("stage", update, *slices)
            for actor, *slices in zip(self._actors, gradient, statistics, strict=True)
        ]

    def fetch(self, snapshot: Snapshot) -> list[tuple[FloatVector, FloatVector]]:
        """See `WorkerShards.fetch`: views of the node's object store, without a copy."""
        return ray.get(list(snapshot.answers))

    def apply(
        self,
        update: UpdateId,
        learning_rate: float,
        average_decay: float,
        *,
        scale: float = 1.0,
        pulled: Snapshot | None = None,
    ) -> None:
        """See `CoordinatorShards.apply`. What a shard had answered lies beside it still."""
        command = "apply", update, learning_rate, average_decay, scale
        if pulled is None:
            self._all(*command)
            return
        for actor, answer in zip(self._actors, pulled.answers, strict=True):
            actor.call.remote(*command, answer)

    def mean(self, update: UpdateId, parts: Sequence[tuple[UpdateId, float]]) -> float:
        """See `CoordinatorShards.mean`."""
        return float(sum(plain_answer(self._all("mean", update, parts))))

    def discard(self, update: UpdateId) -> None:
        """See `CoordinatorShards.discard`."""
        self._all("discard", update)

    def dismiss(self, worker: str) -> None:
        """See `CoordinatorShards.dismiss`."""
        self._all("dismiss", worker)

    def publish(self, version: int) -> Snapshot:
        """See `CoordinatorShards.publish`: workers that ask at one version share one snapshot."""
        if self._snapshot is None or self._snapshot.version != version:
            self._snapshot = Snapshot(version, self._all("weights", version))
        return self._snapshot

    def save(self, paths: Sequence[Path], version: int) -> Answers:
        """See `CoordinatorShards.save`."""
        return [
            actor.call.remote("save", str(path), version)
            for actor, path in zip(self._actors, paths, strict=True)
        ]

    def settled(self, answers: Answers, *, wait: bool) -> bool:
        """See `CoordinatorShards.settled`."""
        timeout = None if wait else 0
        done, _ = ray.wait(list(answers), num_returns=len(answers), timeout=timeout)
        plain_answer(done)
        return len(done) == len(answers)

    def _all(self, method: str, *arguments: Any) -> Answers:
        return [actor.call.remote(method, *arguments) for actor in self._actors]


class RayCoordinator:
    """The coordinator actor, as workers see it; implements WorkerCoordinator."""

    def __init__(self, actor: ActorHandle) -> None:
        self._actor = actor

    def lease(self, worker: str) -> tuple[int, int] | None:
        """See `WorkerCoordinator.lease`."""
        return ray.get(self._actor.call.remote("lease", worker))

    def snapshot(self, worker: str) -> Answer:
        """See `WorkerCoordinator.snapshot`."""
        return ray.get(self._actor.snapshot.remote(worker))

    def commit(self, report: GradientReport, squares: Answers) -> Answer:
        """See `WorkerCoordinator.commit`.

        The shards' answers go on as arguments: Ray delivers the call once they are there, which
        spares the worker a round trip.
        """
        return ray.get(self._actor.commit.remote(report, *squares))

    def report_bad_record(self, worker: str, record: BadRecordReport) -> None:
        """See `WorkerCoordinator.report_bad_record`."""
        ray.get(self._actor.call.remote("report_bad_record", worker, record))


# The processes make their parts in `start` and `run`, not in their constructors: Ray hands on an
# exception of a method as it is, but that of a constructor only as text. Their names are what Ray's
# own tools call them.


class _Process:
    def __init__(self) -> None:
        show_stacks_on_signal()

    def where(self) -> tuple[str, int]:
        """Ray's id of the node that it runs on, and its process id there."""
        return ray.get_runtime_context().get_node_id(), os.getpid()


class ParameterShardProcess(_Process):
    """Holds one range of the parameters."""

    def start(self, plan: TrainingPlan, index: int, logs: Path | None = None) -> None:
        """Reads the range from the plan's checkpoint; `logs` is the folder of what is printed."""
        begin(plan, f"shard-{index}", logs)
        threads = plan.config.topology.threads_per_shard
        numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))
        self._shard = plan.new_shard(index)

    def call(self, method: str, *arguments: Any) -> Any:
        """Calls a method of the shard."""
        return getattr(self._shard, method)(*arguments)


class CoordinatorProcess(_Process):
    """Gives updates their order.

    A worker that is told to wait is answered when it need not wait any more. Its call holds a
    thread of this process; the coordinator is asked by one thread at a time.
    """

    def start(self, plan: TrainingPlan, shards: RayShards, logs: Path | None = None) -> None:
        """Reads the ledger from the plan's checkpoint."""
        begin(plan, "coordinator", logs)
        self._coordinator = plan.new_coordinator(shards)
        self._turn = threading.Condition()

    def call(self, method: str, *arguments: Any) -> Any:
        """Calls a method of the coordinator that makes nobody wait."""
        with self._turn:
            answer = getattr(self._coordinator, method)(*arguments)
            self._wake()
            return answer

    def snapshot(self, worker: str) -> Answer:
        """See `Coordinator.snapshot`."""
        with self._turn:
            return self._when_told(worker, self._coordinator.snapshot(worker))

    def commit(self, report: GradientReport, *squares: float) -> Answer:
        """See `Coordinator.commit`."""
        with self._turn:
            return self._when_told(report.worker, self._coordinator.commit(report, squares))

    def _when_told(self, worker: str, answer: Answer) -> Answer:
        """The answer, or, if that is to wait, the one after; others have their turns meanwhile."""
        self._wake()
        while answer is Wait.WAIT:
            self._turn.wait()
            answer = self._coordinator.snapshot(worker)
        return answer

    def _wake(self) -> None:
        if self._coordinator.answers_waiting:
            self._turn.notify_all()


class GradientWorkerProcess(_Process):
    """Computes gradients."""

    def run(
        self,
        plan: TrainingPlan,
        name: str,
        threads: int,
        shards: RayShards,
        coordinator: RayCoordinator,
        logs: Path | None = None,
    ) -> int:
        """To the end of the records; how many gradients were pushed."""
        begin(plan, name, logs)
        from manylabel.trainer.program.device import configure_device

        on_gpu = configure_device(threads, plan.config.precision)
        jit_compile = is_compiled(plan.config.jit_compile, on_gpu)
        return plan.new_worker(name, shards, coordinator, jit_compile=jit_compile).run()


def is_compiled(wanted: bool | None, on_gpu: bool) -> bool:
    """Whether a worker compiles its network's passes with XLA: as set, or where it has a GPU."""
    return on_gpu if wanted is None else wanted


def begin(plan: TrainingPlan, name: str, logs: Path | None) -> None:
    """What a process does first: it prints to its file, and looks whether it sees the run's files.

    Raises:
        UnseenPathError: it does not.
    """
    node = ray.util.get_node_ip_address() if ray.is_initialized() else "this machine"
    plan.check_seen(node, logs)
    if logs is not None:
        try:
            log_to(logs, name)
        except OSError as error:
            raise UnseenPathError(
                f"the node {node} cannot write logs to {logs}: {reason_of(error)}; {SHARED}"
            ) from error
        print(f"process {os.getpid()} on node {node} is at work", flush=True)
