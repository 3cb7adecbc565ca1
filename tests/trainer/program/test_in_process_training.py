"""The whole parameter plane in one process, step by step, against a plain Keras loop."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from manylabel.storage.dataset import Dataset
from manylabel.storage.schema import LabelledImage
from manylabel.trainer.config import TrainerConfig
from manylabel.trainer.networks.build import build_model, decayed_variables
from manylabel.trainer.networks.losses import label_loss
from manylabel.trainer.plane.layout import ParameterLayout
from manylabel.trainer.plane.status import CoordinatorStatus
from manylabel.trainer.program.in_process import LocalCoordinator, new_local_shards
from manylabel.trainer.program.initial_state import write_initial_checkpoint
from manylabel.trainer.program.plan import TrainingPlan, record_order
from manylabel.trainer.records.batches import SparseLabels, training_batches
from manylabel.trainer.records.ledger import Settlement
from manylabel.trainer.runs.checkpoint import (
    CheckpointInfo,
    checkpoint_path,
    describe_checkpoint,
    list_checkpoints,
    load_weights,
    read_manifest,
)

pytestmark = pytest.mark.slow

CLASSES = 12
BATCH = 8
STEPS = 20
L2 = 1e-4


def settings(**changes) -> TrainerConfig:
    tree = {
        "model": {"input_size": 48, "width": 0.125, "middle_repeats": 1, "head_bias": "zero"},
        "input": {"batch_size": BATCH, "augmentation": {"view": {"name": "shift"}}},
        "optimizer": {"name": "sgd", "momentum": 0.9},
        "schedule": {"learning_rate": 1e-3, "decay_rate": 0.5, "decay_every": 10 * BATCH},
        "averaging": {"decay": 0.9, "warm_up": False},
        "l2": L2,
        "topology": {"parameter_shards": 3},
        "checkpoints": {"every_samples": 1_000_000},
        "seed": 3,
    }
    return TrainerConfig.model_validate({**tree, **changes})


@pytest.fixture
def dataset(write_dataset: Callable[..., Dataset], openclipart: Path) -> Dataset:
    """Real pictures. On noise, a max-pooling has near-ties everywhere, and which of them wins
    hangs on the last bit: two exact implementations would soon differ."""
    paths = sorted((openclipart / "images").rglob("*.jpg"))
    images = []
    for number, path in enumerate(paths[:: len(paths) // (STEPS * BATCH)][: STEPS * BATCH]):
        with Image.open(path) as picture:
            width, height = picture.size
        labels = tuple(sorted({number % CLASSES, (number * 7 + 1) % CLASSES}))
        images.append(
            LabelledImage(path.name, path.read_bytes(), height, width, labels, (1.0,) * len(labels))
        )
    return write_dataset(train=[images[:100], images[100:]], classes=CLASSES)


def train_in_process(
    dataset: Dataset, run: Path, config: TrainerConfig, workers: int
) -> CoordinatorStatus:
    """Trains to the end, each worker stepping in turn: with W workers each gradient is computed
    W - 1 updates late."""
    checkpoint = write_initial_checkpoint(run, dataset, config)
    plan = TrainingPlan.from_checkpoint(config, str(dataset.root), run, checkpoint)
    shards = new_local_shards(plan)
    coordinator = plan.new_coordinator(shards)
    local = LocalCoordinator(coordinator)
    running = [plan.new_worker(f"worker-{n}", shards, local) for n in range(workers)]
    while running:
        running = [worker for worker in running if worker.step()]
    coordinator.finish()
    return coordinator.status()


def keras_loop(dataset: Dataset, config: TrainerConfig) -> tuple[np.ndarray, np.ndarray]:
    """Plain Keras: one process, a Keras optimizer with its own schedule, L2 in the loss.

    Every operation but BatchNorm's statistics gives the same bits as ours. That is why the loss is
    ours too (test_losses.py holds it against TensorFlow's), the batch size is open, and the
    optimizer is SGD (TensorFlow's square root is not correctly rounded; test_optimizers.py holds
    RMSprop against it). One different last bit switches a ReLU or a max-pooling sooner or later,
    and a gradient changes by more than any error of ours would change it.
    """
    keras.utils.set_random_seed(config.seed)
    model = build_model(config.model, CLASSES)
    decayed = decayed_variables(model)
    schedule = keras.optimizers.schedules.ExponentialDecay(1e-3, 10, 0.5, staircase=True)
    optimizer = keras.optimizers.SGD(schedule, momentum=0.9)

    size = config.model.input_size
    any_batch = [
        tf.TensorSpec([None, size, size, 3], tf.float32),
        SparseLabels(*(tf.TensorSpec([None], t) for t in (tf.int64, tf.int64, tf.float32))),
    ]

    @tf.function(input_signature=any_batch)
    def step(images, labels):
        with tf.GradientTape() as tape:
            loss = label_loss(model(images, training=True), labels, config.loss)
            loss += L2 * tf.add_n(
                [tf.reduce_sum(v.value**2) for v in model.trainable_variables if v.path in decayed]
            )
        gradients = tape.gradient(loss, [v.value for v in model.trainable_variables])
        optimizer.apply(gradients, model.trainable_variables)

    stream = training_batches(
        [(0, STEPS * BATCH)],
        record_order(dataset, config.input),
        dataset,
        config.input,
        size,
        lambda record: pytest.fail(str(record)),
    )
    for images, labels, _ in stream:
        step(images, labels)
    return ParameterLayout.of(model).read(model)


def test_one_worker_without_staleness_equals_a_keras_loop(dataset: Dataset, tmp_path: Path):
    config = settings()
    train_in_process(dataset, tmp_path / "run", config, workers=1)
    (final,) = [info for info in list_checkpoints(tmp_path / "run") if info.step > 0]
    assert (final.step, final.samples) == (STEPS, STEPS * BATCH)
    ours = load_weights(describe_checkpoint(final.path), averaged=False)
    start = load_weights(describe_checkpoint(checkpoint_path(tmp_path / "run", 0)), averaged=False)
    parameters, statistics = keras_loop(dataset, config)
    for received, expected, before in (
        (ours.parameters, parameters, start.parameters),
        (ours.statistics, statistics, start.statistics),
    ):
        assert np.abs(expected - before).max() > 1e-2, "training moved the weights"
        np.testing.assert_allclose(received, expected, rtol=0, atol=1e-4)


def test_workers_in_turn_compute_on_weights_as_old_as_there_are_others(
    dataset: Dataset, tmp_path: Path
):
    config = settings(updates_per_metrics_row=1)
    status = train_in_process(dataset, tmp_path / "run", config, workers=3)
    assert (status.step, status.samples) == (STEPS, STEPS * BATCH)
    staleness = [row.staleness for row in status.rows]
    # Each fetches its first weights when its first turn comes. The last records do not go round.
    assert staleness[:12] == [0, 0, 0, *[2] * 9]


def test_labels_that_nobody_judged_are_not_trained(
    write_dataset: Callable[..., Dataset],
    labelled_image: Callable[..., LabelledImage],
    tmp_path: Path,
):
    """Labels 0 and 1 are verified on each image, one present and one absent; 2 is not judged."""
    images = [
        replace(labelled_image(n, (n % 2,)), negative_ids=(1 - n % 2,)) for n in range(2 * BATCH)
    ]
    dataset = write_dataset(train=[images], classes=3)
    model = {"input_size": 32, "width": 0.125, "middle_repeats": 0}
    moved = {}
    for unknown in ("negative", "ignore"):
        config = settings(model=model, loss={"unknown": unknown}, l2=0)
        train_in_process(dataset, tmp_path / unknown, config, workers=1)
        first, last = map(classifier_of, list_checkpoints(tmp_path / unknown))
        moved[unknown] = np.abs(last - first).max(axis=0)
    assert (moved["ignore"][:2] > 0).all()
    assert moved["ignore"][2] == 0
    assert moved["negative"][2] > 0


def classifier_of(checkpoint: CheckpointInfo) -> np.ndarray:
    """Weights and bias of each class: [features + 1, C]."""
    weights = load_weights(checkpoint, averaged=False)
    kernel, bias = (
        weights.parameters[slot.offset : slot.offset + slot.size].reshape(slot.shape)
        for name in ("kernel", "bias")
        for slot in weights.layout.parameters
        if slot.path == f"predictions/{name}"
    )
    return np.vstack([kernel, bias])


def flip_a_byte(dataset: Dataset, shard: int, record: int) -> tuple[Path, int]:
    """Damages the payload of a record; its file and where the record begins."""
    entry = dataset.split("train").shards[shard]
    path = Path(str(dataset.path(entry.path)))
    offset = dataset.read_index(entry).column("byte_offset")[record].as_py()
    data = bytearray(path.read_bytes())
    data[offset + 100] ^= 0xFF
    path.write_bytes(data)
    return path, offset


def test_a_corrupt_record_is_counted_and_training_goes_on(dataset: Dataset, tmp_path: Path):
    path, offset = flip_a_byte(dataset, shard=1, record=7)
    status = train_in_process(dataset, tmp_path / "run", settings(), workers=2)
    assert (status.failure, status.counts.bad_records) == (None, 1)
    (note,) = status.notes
    assert f"{path}, byte {offset}" in note
    ledger = read_manifest(list_checkpoints(tmp_path / "run")[-1].path).ledger
    assert ledger.undone == ()
    assert ledger.settled == {
        Settlement.APPLIED: STEPS * BATCH - 1,
        Settlement.BAD_RECORD: 1,
        Settlement.REJECTED_GRADIENT: 0,
    }


def test_corrupt_records_beyond_the_budget_stop_training(dataset: Dataset, tmp_path: Path):
    for record in (3, 50):
        path, _ = flip_a_byte(dataset, shard=0, record=record)
    config = settings(failures={"max_bad_records": 1})
    status = train_in_process(dataset, tmp_path / "run", config, workers=1)
    assert status.failure is not None
    assert "2 unreadable records" in status.failure
    assert "trainer.failures.max_bad_records = 1" in status.failure
    assert str(path) in status.failure
