"""The loop of a gradient worker: pull weights, compute a gradient, push it."""

from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from manylabel.trainer.networks.replica import ModelReplica
from manylabel.trainer.plane.protocols import (
    GradientReport,
    Snapshot,
    WorkerCoordinator,
    WorkerShards,
)
from manylabel.trainer.records.batches import SparseLabels

Batch = tuple[tf.Tensor, SparseLabels, tf.Tensor]


class GradientWorker:
    """Computes gradients until its batches end or the coordinator says stop.

    Args:
        name: unique in the run; a worker that replaces a dead one has another name.
        batches: images float32 [B, S, S, 3], labels, stream positions int64 [B].
    """

    def __init__(
        self,
        name: str,
        batches: Iterator[Batch],
        replica: ModelReplica,
        shards: WorkerShards,
        coordinator: WorkerCoordinator,
    ) -> None:
        self._name = name
        self._batches = batches
        self._replica = replica
        self._shards = shards
        self._coordinator = coordinator
        self._snapshot: Snapshot | None = None
        self._updates = 0

    def step(self) -> bool:
        """One update; False when there is nothing more to do."""
        batch = next(self._batches, None)
        if batch is None:
            return False
        if self._snapshot is None:
            self._snapshot = self._coordinator.snapshot(self._name)
        if self._snapshot is None:
            return False
        images, labels, positions = batch
        self._replica.load(self._shards.fetch(self._snapshot))
        gradient = self._replica.gradient(images, labels)
        update = (self._name, self._updates)
        report = GradientReport(
            update, self._snapshot.version, np.asarray(positions, np.int64), gradient.loss
        )
        squares = self._shards.stage(update, gradient.parameters, gradient.statistics)
        self._updates += 1
        self._snapshot = self._coordinator.commit(report, squares)
        return self._snapshot is not None

    def run(self) -> int:
        """Steps to the end; how many gradients were pushed."""
        while self.step():
            pass
        return self._updates
