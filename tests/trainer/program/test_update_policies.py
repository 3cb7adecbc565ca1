"""Update policies with real gradients: workers, shards and coordinator in one process, in turns."""

from collections.abc import Iterator
from functools import partial

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from manylabel.trainer.networks.loss_config import LossConfig
from manylabel.trainer.networks.losses import label_loss
from manylabel.trainer.networks.replica import ModelReplica
from manylabel.trainer.plane.coordinator import Coordinator
from manylabel.trainer.plane.failures import FailureConfig
from manylabel.trainer.plane.layout import ParameterLayout, cut
from manylabel.trainer.plane.optimizers import SGD, DecayBlocks
from manylabel.trainer.plane.policies.compensation import (
    DelayCompensation,
    InverseStaleness,
    NoCompensation,
)
from manylabel.trainer.plane.policies.config import Asynchronous, StalenessBound, Synchronous
from manylabel.trainer.plane.policies.events import Pushed
from manylabel.trainer.plane.policies.trace import Recorded, read_trace
from manylabel.trainer.plane.schedules import ExponentialDecay, PolyakAverage
from manylabel.trainer.plane.shard import ParameterShard, ShardState
from manylabel.trainer.plane.updates import UpdateRules
from manylabel.trainer.program.in_process import LocalCoordinator, LocalShards
from manylabel.trainer.program.worker import Batch, GradientWorker
from manylabel.trainer.records.batches import SparseLabels
from manylabel.trainer.records.ledger import RecordLedger, Settlement
from manylabel.trainer.runs.checkpoint import StreamIdentity
from manylabel.trainer.runs.writer import CheckpointWriter

pytestmark = pytest.mark.slow

BATCH, SIZE, CLASSES = 4, 12, 6
BATCHES = 36
TOTAL = BATCHES * BATCH
SHARDS = 2
RATE, MOMENTUM = 0.02, 0.9
STATISTICS_MOMENTUM = 0.9
SERIAL = Asynchronous(staleness=StalenessBound(bound=0))
STREAM = StreamIdentity(dataset_digest="f", seed=0, shuffle_block=1, shuffle_mix=1)


def network(normalisation: str) -> keras.Model:
    """Convolutions, with BatchNorm ("learning" or "frozen") or without ("none")."""
    keras.utils.set_random_seed(5)
    stack = [layers.Input((SIZE, SIZE, 3)), layers.Conv2D(8, 3)]
    if normalisation != "none":
        stack.append(layers.BatchNormalization(momentum=STATISTICS_MOMENTUM))
        stack[-1].trainable = normalisation == "learning"
    stack += [layers.ReLU(), layers.SeparableConv2D(12, 3), layers.ReLU()]
    return keras.Sequential([*stack, layers.GlobalAveragePooling2D(), layers.Dense(CLASSES)])


def batch_of(positions: np.ndarray) -> Batch:
    """Made-up pictures, bright in a colour and a corner that their two labels hang on."""
    images, classes = [], []
    for position in positions:
        random = np.random.default_rng(int(position))
        label = int(random.integers(0, CLASSES))
        image = random.uniform(-1, 1, (SIZE, SIZE, 3)).astype(np.float32)
        image[:6, (label % 2) * 6 :][:, :6, label % 3] += 2
        images.append(image)
        classes += [label, (label + 1) % CLASSES]
    rows = np.repeat(np.arange(len(positions)), 2)
    labels = SparseLabels(
        tf.constant(rows, tf.int64), tf.constant(classes, tf.int64), tf.ones(len(rows))
    )
    return tf.constant(np.stack(images)), labels, tf.constant(positions, tf.int64)


class CountingLedger(RecordLedger):
    """Keeps, beside, which records were applied."""

    def settle(self, worker: str, positions: np.ndarray, how: Settlement) -> None:
        super().settle(worker, positions, how)
        self.__dict__.setdefault("seen", []).extend(positions.tolist())


class Program:
    """A run whose workers take their steps when a test says."""

    def __init__(self, folder, updates, workers="abc", *, normalisation="none", **rules):
        self._network = partial(network, normalisation)
        model = self._network()
        self._layout = ParameterLayout.of(model)
        self.ledger = CountingLedger(rules.pop("total", TOTAL), rules.pop("lease", BATCH))
        optimizer = SGD(momentum=MOMENTUM)
        compensation = updates.compensation
        parameters, statistics = self._layout.read(model)
        self._shards = []
        ranges = zip(cut(len(parameters), SHARDS), cut(len(statistics), SHARDS), strict=True)
        for (a, b), (c, d) in ranges:
            state = ShardState.initial(parameters[a:b], statistics[c:d], optimizer)
            if isinstance(compensation, DelayCompensation):
                state.slots |= compensation.new_slots(b - a)
            self._shards.append(
                ParameterShard(
                    state,
                    optimizer,
                    DecayBlocks(b - a, [], 0.0),
                    STATISTICS_MOMENTUM,
                    0,
                    compensation if isinstance(compensation, DelayCompensation) else None,
                )
            )
        self._local = LocalShards(self._shards)
        self.trace = folder / "trace.jsonl"
        self.coordinator = Coordinator(
            self._local,
            self.ledger,
            CheckpointWriter(folder, self._layout, STREAM, self._local, shard_count=SHARDS),
            UpdateRules(
                ExponentialDecay(learning_rate=RATE),
                PolyakAverage(),
                compensation=compensation,
            ),
            FailureConfig(),
            samples_per_checkpoint=10**9,
            updates_per_row=1,
            policy=Recorded(self.trace, updates, len(workers), 0),
        )
        self.workers = {}
        for worker in workers:
            self.add(worker)

    def add(self, worker, batches=None):
        """Starts a worker; `batches`: in place of leased ones."""
        self.coordinator.worker_started(worker)
        self.workers[worker] = GradientWorker(
            worker,
            batches or self._leased(worker),
            ModelReplica(
                self._network(),
                self._layout,
                partial(label_loss, config=LossConfig()),
                SHARDS,
                STATISTICS_MOMENTUM,
            ),
            self._local,
            LocalCoordinator(self.coordinator),
        )

    def _leased(self, worker: str) -> Iterator[Batch]:
        while (lease := self.coordinator.lease(worker)) is not None:
            for start in range(*lease, BATCH):
                yield batch_of(np.arange(start, min(start + BATCH, lease[1])))

    def end(self, worker, death=None):
        del self.workers[worker]
        self.coordinator.worker_ended(worker, death)

    def turn(self):
        """One step of each worker."""
        for worker in list(self.workers):
            if worker in self.workers and not self.workers[worker].step():
                self.end(worker)

    def run(self):
        """To the end; its last status."""
        for _ in range(20 * BATCHES):
            if not self.workers:
                break
            self.turn()
        assert not self.workers, "somebody waits for ever"
        self.coordinator.finish()
        return self.coordinator.status()

    @property
    def weights(self):
        step = self._shards[0].version
        return [np.concatenate(kind) for kind in zip(*(s.weights(step) for s in self._shards),
                                                     strict=True)]  # fmt: skip


def serially(folder, order, normalisation):
    """One worker, which is given the batches that begin at these positions."""
    program = Program(folder, Asynchronous(), "", normalisation=normalisation, lease=TOTAL)
    program.coordinator.lease("one")
    program.add("one", (batch_of(np.arange(start, start + BATCH)) for start in order))
    program.run()
    return program.weights


@pytest.mark.parametrize(
    "compensation", [NoCompensation(), InverseStaleness(), DelayCompensation()]
)
def test_workers_with_a_staleness_of_0_equal_one_bit_for_bit(tmp_path, compensation):
    updates = SERIAL.model_copy(update={"compensation": compensation})
    program = Program(tmp_path / "three", updates, normalisation="learning")
    status = program.run()
    assert (status.step, status.finished) == (BATCHES, True)
    assert {row.max_staleness for row in status.rows} == {0}
    assert min(status.applied[worker] for worker in "abc") > TOTAL / 6, "all took part"
    _, steps = read_trace(program.trace)
    order = [event.first_position for event, _ in steps if isinstance(event, Pushed)]
    assert order != sorted(order), "records are applied in the order of their turns"
    for ours, serial in zip(
        program.weights, serially(tmp_path / "one", order, "learning"), strict=True
    ):
        np.testing.assert_array_equal(ours, serial)


def test_without_the_bound_the_same_workers_do_not(tmp_path):
    program = Program(tmp_path / "three", Asynchronous(), normalisation="learning")
    status = program.run()
    assert {row.staleness for row in status.rows[3:]} == {2}
    _, steps = read_trace(program.trace)
    order = [event.first_position for event, _ in steps if isinstance(event, Pushed)]
    serial = serially(tmp_path / "one", order, "learning")
    assert np.abs(program.weights[0] - serial[0]).max() > 1e-3


def keras_loop(normalisation: str, batch: int) -> np.ndarray:
    """Plain Keras over batches of this size, its own optimizer."""
    model = network(normalisation)
    optimizer = keras.optimizers.SGD(RATE, momentum=MOMENTUM)
    before = ParameterLayout.of(model).read(model)[0].copy()
    for start in range(0, TOTAL, batch):
        images, labels, _ = batch_of(np.arange(start, start + batch))
        with tf.GradientTape() as tape:
            loss = label_loss(model(images, training=True), labels, LossConfig())
        slopes = tape.gradient(loss, [v.value for v in model.trainable_variables])
        optimizer.apply(slopes, model.trainable_variables)
    after = ParameterLayout.of(model).read(model)[0]
    assert np.abs(after - before).max() > 0.03, "training moved the weights"
    return after


@pytest.mark.parametrize("normalisation", ["none", "frozen"])
@pytest.mark.parametrize("workers", ["ab", "abcd"])
def test_synchronous_workers_equal_one_with_a_batch_as_large_as_theirs(
    tmp_path, normalisation, workers
):
    program = Program(tmp_path, Synchronous(), workers, normalisation=normalisation)
    status = program.run()
    assert status.step == BATCHES // len(workers)
    assert {row.gradients for row in status.rows} == {len(workers)}
    expected = keras_loop(normalisation, BATCH * len(workers))
    np.testing.assert_allclose(program.weights[0], expected, rtol=0, atol=1e-4)
    small = keras_loop(normalisation, BATCH)
    assert np.abs(program.weights[0] - small).max() > 1e-2, "not one with a batch as small"


def test_a_worker_without_another_batch_waits_for_the_round_of_its_last_gradient(tmp_path):
    program = Program(tmp_path, Synchronous(), "ab", total=3 * BATCH)
    program.turn()
    last, idle = program.workers["a"], program.workers["b"]
    for _ in range(3):
        assert last.step(), "its gradient is in the open round"
    assert not idle.step()
    program.end("b")
    status = program.run()
    assert [row.gradients for row in status.rows] == [2, 1]
    assert status.applied == {"a": 2 * BATCH, "b": BATCH}
    _, steps = read_trace(program.trace)
    pushed = [event.first_position for event, _ in steps if isinstance(event, Pushed)]
    assert pushed == [0, BATCH, 2 * BATCH], "no record was dealt again"


@pytest.mark.parametrize("place", ["before its push", "after its push"])
@pytest.mark.parametrize("backups", [0, 1])
def test_a_worker_killed_in_a_round_costs_no_record_and_counts_none_twice(tmp_path, place, backups):
    program = Program(tmp_path, Synchronous(backup_workers=backups), "abc")
    for _ in range(4):
        program.turn()
    before = program.coordinator.status().step
    program.workers["a"].step()
    if place == "after its push":
        program.workers["b"].step()
    program.end("b", "killed")
    program.workers["c"].step()
    status = program.coordinator.status()
    assert status.step == before + 1, "the round goes on with those that are left"
    assert status.rows[-1].gradients == 2
    program.add("heir")
    for _ in range(3):
        program.turn()
    rows = program.coordinator.status().rows
    assert rows[-1].gradients == 3 - backups, "whose place is taken"
    status = program.run()
    while not status.finished:  # as the job's monitor does
        for number in range(3):
            program.add(f"late-{number}-{status.settled}")
        status = program.run()
    assert sorted(program.ledger.__dict__["seen"]) == list(range(TOTAL))
    assert (status.samples, status.settled) == (TOTAL, TOTAL)
    policy, steps = read_trace(program.trace)
    assert all(policy.on(event) == decisions for event, decisions in steps)
