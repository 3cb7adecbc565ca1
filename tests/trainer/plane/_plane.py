"""Coordinator and shards of one run in one process; a test plays the workers."""

import numpy as np

from manylabel.trainer.plane.coordinator import Coordinator
from manylabel.trainer.plane.failures import FailureConfig
from manylabel.trainer.plane.layout import ParameterLayout, VariableSlot, cut
from manylabel.trainer.plane.optimizers import SGD, DecayBlocks
from manylabel.trainer.plane.policies.compensation import DelayCompensation, NoCompensation
from manylabel.trainer.plane.protocols import GradientReport
from manylabel.trainer.plane.schedules import ExponentialDecay, PolyakAverage
from manylabel.trainer.plane.shard import ParameterShard, ShardState
from manylabel.trainer.plane.updates import UpdateRules
from manylabel.trainer.program.in_process import LocalShards
from manylabel.trainer.records.ledger import RecordLedger
from manylabel.trainer.runs.checkpoint import (
    StreamIdentity,
    checkpoint_path,
    load_shard,
    read_manifest,
)
from manylabel.trainer.runs.writer import CheckpointWriter

PARAMETERS, STATISTICS = 50, 20
LAYOUT = ParameterLayout(
    parameters=(VariableSlot(path="kernel", shape=(PARAMETERS,), offset=0),),
    statistics=(VariableSlot(path="mean", shape=(STATISTICS,), offset=0),),
)
STREAM = StreamIdentity(dataset_digest="f", seed=0, shuffle_block=1, shuffle_mix=1)
BATCH, LEASE = 4, 8
MOMENTUM = 0.5  # of the statistics


class Plane:
    """Coordinator and shards of one run, without workers: a test plays their part.

    Args:
        resume: step of the run's checkpoint to go on from.
    """

    def __init__(self, run, *, shards=2, total=40, resume=None, checkpoint_every=1000, **settings):
        self.run, self.shard_count = run, shards
        optimizer = settings.get("optimizer", SGD(momentum=0.0))
        ledger, step = RecordLedger(total, LEASE), resume or 0
        if resume is not None:
            manifest = read_manifest(checkpoint_path(run, resume))
            ledger = RecordLedger.restore(manifest.ledger, total, LEASE)
        compensation = settings.get("compensation")
        self.shards = [self._shard(i, optimizer, resume, compensation) for i in range(shards)]
        self.local = LocalShards(self.shards)
        self.ledger = ledger
        self.writer = CheckpointWriter(run, LAYOUT, STREAM, self.local, shard_count=shards)
        self.coordinator = Coordinator(
            self.local,
            self.ledger,
            self.writer,
            UpdateRules(
                settings.get("schedule", ExponentialDecay(learning_rate=0.25)),
                settings.get("averaging", PolyakAverage(decay=0.5, warm_up=False)),
                settings.get("global_clipnorm"),
                settings.get("compensation", NoCompensation()),
            ),
            settings.get("failures", FailureConfig()),
            samples_per_checkpoint=checkpoint_every,
            updates_per_row=settings.get("updates_per_row", 1),
            policy=settings.get("policy"),
            step=step,
            clock=settings.get("clock", iter(range(10**6)).__next__),
        )
        self.pushed = dict[str, int]()

    def _shard(self, index, optimizer, resume, compensation):
        if resume is not None:
            state = load_shard(checkpoint_path(self.run, resume), index, self.shard_count)
        else:
            state = ShardState.initial(
                np.ones(PARAMETERS, np.float32)[slice(*cut(PARAMETERS, self.shard_count)[index])],
                np.ones(STATISTICS, np.float32)[slice(*cut(STATISTICS, self.shard_count)[index])],
                optimizer,
            )
        blocks = DecayBlocks(len(state.weights), [], 0)
        if isinstance(compensation, DelayCompensation):
            state.slots |= compensation.new_slots(len(state.weights))
        else:
            compensation = None
        return ParameterShard(state, optimizer, blocks, MOMENTUM, resume or 0, compensation)

    def stage(self, worker, positions, gradient, base=0, loss=1.0):
        """A worker's push up to its question for a commit."""
        number = self.pushed.get(worker, 0)
        self.pushed[worker] = number + 1
        slopes = np.broadcast_to(np.asarray(gradient, np.float32), PARAMETERS)
        contributed = np.full(STATISTICS, 0.75, np.float32)
        squares = self.local.stage(
            (worker, number),
            [slopes[a:b] for a, b in cut(PARAMETERS, self.shard_count)],
            [contributed[a:b] for a, b in cut(STATISTICS, self.shard_count)],
        )
        return GradientReport((worker, number), base, np.asarray(positions), loss), squares

    def push(self, worker, positions, gradient=1.0, **report):
        return self.coordinator.commit(*self.stage(worker, positions, gradient, **report))

    def ask(self, worker):
        """What a worker is told that wants weights."""
        return self.coordinator.snapshot(worker)

    def failure(self):
        """Why training stopped; empty while it goes on."""
        return self.coordinator.status().failure or ""

    def weights(self, step):
        vectors = [shard.weights(step)[0] for shard in self.shards]
        return np.concatenate(vectors)

    def statistics(self, step):
        return np.concatenate([shard.weights(step)[1] for shard in self.shards])

    def work(self, worker="worker", most=10**6):
        """A worker's loop: batches of one lease at a time, gradients a function of the batch."""
        done = 0
        while done < most and (lease := self.coordinator.lease(worker)) is not None:
            for start in range(*lease, BATCH):
                positions = np.arange(start, min(start + BATCH, lease[1]))
                random = np.random.default_rng(positions.tolist())
                self.push(worker, positions, random.standard_normal(PARAMETERS))
                done += 1
        return done
