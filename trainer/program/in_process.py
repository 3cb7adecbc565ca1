"""The parameter plane wired in one process, step by step: for a run's first checkpoint, for tests
and for a debugger.

`trainer.program.topology` wires the same classes as actors.
"""

import threading
from collections.abc import Sequence
from pathlib import Path

from manylabel.trainer.plane.coordinator import Coordinator
from manylabel.trainer.plane.optimizers import FloatVector
from manylabel.trainer.plane.protocols import Answer, Answers, GradientReport, Snapshot
from manylabel.trainer.plane.shard import ParameterShard, UpdateId
from manylabel.trainer.program.plan import TrainingPlan
from manylabel.trainer.records.reader import BadRecordReport


class LocalShards:
    """Calls its shards directly; implements WorkerShards and CoordinatorShards."""

    def __init__(self, shards: Sequence[ParameterShard]) -> None:
        self._shards = shards

    def stage(
        self, update: UpdateId, gradient: Sequence[FloatVector], statistics: Sequence[FloatVector]
    ) -> Answers:
        """See `WorkerShards.stage`."""
        return [
            shard.stage(update, *slices)
            for shard, *slices in zip(self._shards, gradient, statistics, strict=True)
        ]

    def fetch(self, snapshot: Snapshot) -> list[tuple[FloatVector, FloatVector]]:
        """See `WorkerShards.fetch`."""
        return list(snapshot.answers)

    def apply(
        self,
        update: UpdateId,
        learning_rate: float,
        average_decay: float,
        *,
        scale: float = 1.0,
        pulled: Snapshot | None = None,
    ) -> None:
        """See `CoordinatorShards.apply`."""
        answers = [None] * len(self._shards) if pulled is None else pulled.answers
        for shard, answer in zip(self._shards, answers, strict=True):
            shard.apply(update, learning_rate, average_decay, scale, answer)

    def mean(self, update: UpdateId, parts: Sequence[tuple[UpdateId, float]]) -> float:
        """See `CoordinatorShards.mean`."""
        return sum(shard.mean(update, parts) for shard in self._shards)

    def discard(self, update: UpdateId) -> None:
        """See `CoordinatorShards.discard`."""
        for shard in self._shards:
            shard.discard(update)

    def dismiss(self, worker: str) -> None:
        """See `CoordinatorShards.dismiss`."""
        for shard in self._shards:
            shard.dismiss(worker)

    def publish(self, version: int) -> Snapshot:
        """See `CoordinatorShards.publish`; copies, as a snapshot outlives the next update."""
        copies = [
            tuple(vector.copy() for vector in shard.weights(version)) for shard in self._shards
        ]
        return Snapshot(version, copies)

    def save(self, paths: Sequence[Path], version: int) -> Answers:
        """See `CoordinatorShards.save`."""
        for shard, path in zip(self._shards, paths, strict=True):
            shard.save(str(path), version)
        return []

    def settled(self, answers: Answers, *, wait: bool) -> bool:
        """See `CoordinatorShards.settled`: direct calls are settled when they return."""
        return True


class LocalCoordinator:
    """Calls its coordinator directly; implements WorkerCoordinator.

    A worker's input pipeline asks for leases in a thread of its own. An actor takes one call at a
    time; here a lock sees to it. Nobody is made to wait: workers take their steps in turn, and
    are told to ask again.
    """

    def __init__(self, coordinator: Coordinator) -> None:
        self._coordinator = coordinator
        self._lock = threading.Lock()

    def lease(self, worker: str) -> tuple[int, int] | None:
        """See `WorkerCoordinator.lease`."""
        with self._lock:
            return self._coordinator.lease(worker)

    def snapshot(self, worker: str) -> Answer:
        """See `WorkerCoordinator.snapshot`."""
        with self._lock:
            return self._coordinator.snapshot(worker)

    def commit(self, report: GradientReport, squares: Answers) -> Answer:
        """See `WorkerCoordinator.commit`."""
        with self._lock:
            return self._coordinator.commit(report, squares)

    def report_bad_record(self, worker: str, record: BadRecordReport) -> None:
        """See `WorkerCoordinator.report_bad_record`."""
        with self._lock:
            self._coordinator.report_bad_record(worker, record)


def new_local_shards(plan: TrainingPlan) -> LocalShards:
    """All shards of a plan, in this process."""
    count = plan.config.topology.parameter_shards
    return LocalShards([plan.new_shard(index) for index in range(count)])
