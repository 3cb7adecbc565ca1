"""The loop of a gradient worker: pull weights, compute a gradient, push it."""

from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from manylabel.trainer.networks.replica import ModelReplica
from manylabel.trainer.plane.protocols import (
    Answer,
    GradientReport,
    Wait,
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
        self._batch: Batch | None = None
        self._asked = False
        self._answer: Answer = None  # means nothing before it has asked
        self._updates = 0

    def step(self) -> bool:
        """One gradient, or one look whether it may be begun; False: there is nothing more to do."""
        # Before it looks for another batch: without one it ends, and takes along a gradient that
        # may be waiting for those of others.
        if self._answer is Wait.WAIT:
            self._answer = self._coordinator.snapshot(self._name)
            if self._answer is Wait.WAIT:
                return True
        if self._batch is None:
            self._batch = next(self._batches, None)
        if self._batch is None:
            return False
        if not self._asked:
            self._asked, self._answer = True, self._coordinator.snapshot(self._name)
        if self._answer is Wait.WAIT or self._answer is None:
            return self._answer is not None
        snapshot = self._answer
        (images, labels, positions), self._batch = self._batch, None
        self._replica.load(self._shards.fetch(snapshot))
        gradient = self._replica.gradient(images, labels)
        update = (self._name, self._updates)
        report = GradientReport(
            update, snapshot.version, np.asarray(positions, np.int64), gradient.loss
        )
        squares = self._shards.stage(update, gradient.parameters, gradient.statistics)
        self._updates += 1
        self._answer = self._coordinator.commit(report, squares)
        return self._answer is not None

    def run(self) -> int:
        """Steps to the end; how many gradients were pushed."""
        while self.step():
            pass
        return self._updates
