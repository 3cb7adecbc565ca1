"""The whole parameter plane in one process, step by step, against a plain Keras loop."""

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from preprocessing.dataset import Dataset
from trainer.checkpoint import checkpoint_path, list_checkpoints, load_weights
from trainer.config import TrainerConfig
from trainer.in_process import LocalCoordinator, new_local_shards
from trainer.initial_state import write_initial_checkpoint
from trainer.input import training_batches
from trainer.models.build import build_model, decayed_variables
from trainer.parameters import ParameterLayout
from trainer.plan import TrainingPlan, record_order

CLASSES = 12
BATCH = 8
STEPS = 20
L2 = 1e-4


def settings(**changes) -> TrainerConfig:
    tree = {
        "model": {"input_size": 48, "width": 0.125, "middle_repeats": 1},
        "input": {"batch_size": BATCH, "augmentation": {"view": {"name": "shift"}}},
        "optimizer": {"name": "rmsprop", "epsilon": 1.0, "mean_square_start": "zeros"},
        "schedule": {"learning_rate": 1e-3, "decay_rate": 0.5, "decay_every": 10 * BATCH},
        "averaging": {"decay": 0.9, "warm_up": False},
        "l2": L2,
        "topology": {"parameter_shards": 3},
        "checkpoints": {"every_samples": 1_000_000},
        "seed": 3,
    }
    return TrainerConfig.model_validate({**tree, **changes})


@pytest.fixture
def dataset(write_dataset: Callable[..., Dataset], labelled_image: Callable) -> Dataset:
    images = [
        labelled_image(n, tuple(sorted({n % CLASSES, (n * 7 + 1) % CLASSES})))
        for n in range(STEPS * BATCH)
    ]
    return write_dataset(train=[images[:100], images[100:]], classes=CLASSES)


def train_in_process(dataset: Dataset, run: Path, config: TrainerConfig, workers: int) -> None:
    """Trains to the end, each worker stepping in turn: with W workers each gradient is computed
    W - 1 updates late."""
    checkpoint = write_initial_checkpoint(run, dataset, config)
    plan = TrainingPlan(config, str(dataset.root), run, checkpoint)
    shards = new_local_shards(plan)
    coordinator = plan.new_coordinator(shards)
    local = LocalCoordinator(coordinator)
    running = [plan.new_worker(f"worker-{n}", shards, local) for n in range(workers)]
    while running:
        running = [worker for worker in running if worker.step()]
    coordinator.finish()


def keras_loop(dataset: Dataset, config: TrainerConfig) -> tuple[np.ndarray, np.ndarray]:
    """Plain Keras: dense targets, a Keras optimizer with its own schedule, L2 in the loss."""
    keras.utils.set_random_seed(config.seed)
    model = build_model(config.model, CLASSES)
    decayed = decayed_variables(model)
    schedule = keras.optimizers.schedules.ExponentialDecay(1e-3, 10, 0.5, staircase=True)
    optimizer = keras.optimizers.RMSprop(schedule, rho=0.9, momentum=0.9, epsilon=1.0)

    @tf.function(reduce_retracing=True)
    def step(images, targets):
        with tf.GradientTape() as tape:
            logits = model(images, training=True)
            each = tf.nn.sigmoid_cross_entropy_with_logits(labels=targets, logits=logits)
            loss = tf.reduce_mean(tf.reduce_sum(each, axis=1))
            loss += L2 * tf.add_n(
                [tf.reduce_sum(v.value**2) for v in model.trainable_variables if v.path in decayed]
            )
        gradients = tape.gradient(loss, [v.value for v in model.trainable_variables])
        optimizer.apply(gradients, model.trainable_variables)

    size = config.model.input_size
    stream = training_batches(
        [(0, STEPS * BATCH)],
        record_order(dataset, config.input),
        dataset,
        config.input,
        size,
        lambda record: pytest.fail(str(record)),
    )
    for images, labels, _ in stream:
        targets = np.zeros((len(images), CLASSES), np.float32)
        targets[labels.row_ids.numpy(), labels.class_ids.numpy()] = labels.confidences.numpy()
        step(images, tf.constant(targets))
    return ParameterLayout.of(model).read(model)


def test_one_worker_without_staleness_equals_a_keras_loop(dataset: Dataset, tmp_path: Path):
    config = settings()
    train_in_process(dataset, tmp_path / "run", config, workers=1)
    (final,) = [info for info in list_checkpoints(tmp_path / "run") if info.step > 0]
    assert (final.step, final.samples) == (STEPS, STEPS * BATCH)
    ours = load_weights(final.path, averaged=False)
    start = load_weights(checkpoint_path(tmp_path / "run", 0), averaged=False)
    parameters, statistics = keras_loop(dataset, config)
    for received, expected, before in (
        (ours.parameters, parameters, start.parameters),
        (ours.statistics, statistics, start.statistics),
    ):
        assert np.abs(expected - before).max() > 1e-2, "training moved the weights"
        np.testing.assert_allclose(received, expected, rtol=0, atol=1e-4)
