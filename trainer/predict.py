"""The best classes of held-out images, from the weights of a checkpoint."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from manylabel.storage.dataset import Dataset
from manylabel.storage.schema import SplitName
from manylabel.trainer.errors import CheckpointError
from manylabel.trainer.networks.build import build_model
from manylabel.trainer.networks.loss_config import LossKind
from manylabel.trainer.program.device import share_gpus
from manylabel.trainer.program.memory import keep_freed_memory
from manylabel.trainer.records.batches import evaluation_batches
from manylabel.trainer.runs.checkpoint import CheckpointInfo, FlatWeights, load_weights
from manylabel.trainer.runs.directory import RunDescription, check_dataset, open_run


def gpus_held() -> int:
    """By a process that computes with a model: one, where TensorFlow sees any; it uses no other."""
    return 1 if tf.config.list_physical_devices("GPU") else 0


class TopK(NamedTuple):
    """The k best classes of B images, best first, equal scores by class id.

    k is smaller than asked for where there are fewer classes.
    """

    image_ids: list[str]
    class_ids: NDArray[np.int32]
    scores: NDArray[np.float32]


class Predictor:
    """Predicts the held-out images of a dataset with checkpoints of a run, one after the other.

    The model is built and traced once for all of them. The process keeps the memory it frees.

    Args:
        k: classes wanted of each image.
        averaged: use the Polyak average of the weights, as the paper does for inference.

    Attributes:
        gpus: that the process holds for it.

    Raises:
        TrainingError: the dataset is not the run's.
    """

    def __init__(self, run: Path, dataset: Dataset, *, k: int, averaged: bool = True) -> None:
        keep_freed_memory()
        description = open_run(run)
        check_dataset(run, description, dataset)
        self.gpus = gpus_held()
        self._dataset = dataset
        self._config = config = description.trainer
        self._averaged = averaged
        self._model = model = new_model(description)

        @tf.function(reduce_retracing=True, autograph=False)
        def best(images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            return top_classes(model(images, training=False), config.loss.kind, k)

        self._best = best

    def predict(self, checkpoint: CheckpointInfo, batch_size: int) -> Iterator[TopK]:
        """Yields the predictions for every held-out image, in the dataset's order.

        Raises:
            CheckpointError: the checkpoint is not intact, or not there any more, or its scores are
                not numbers.
        """
        load_checkpoint(self._model, checkpoint, averaged=self._averaged)
        batches = evaluation_batches(
            self._dataset,
            SplitName.HELDOUT,
            self._config.input,
            self._config.model.input_size,
            batch_size,
        )
        for images, image_ids in batches:
            scores, class_ids = (values.numpy() for values in self._best(images))
            refuse_unless_finite(scores, checkpoint)
            yield TopK(image_ids, class_ids, scores)


def new_model(description: RunDescription) -> keras.Model:
    """The run's model, images to logits, with random weights."""
    share_gpus()
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(description.trainer.precision.value)
    try:
        return build_model(description.trainer.model, description.num_classes)
    finally:  # Layers keep theirs; other models of this process are not ours.
        keras.config.set_dtype_policy(before)


def load_checkpoint(model: keras.Model, checkpoint: CheckpointInfo, *, averaged: bool) -> None:
    """Puts a checkpoint's weights into the model.

    Raises:
        CheckpointError: the checkpoint is missing or damaged, or holds what is no number.
    """
    weights = load_weights(checkpoint, averaged=averaged)
    refuse_weights_unless_finite(weights, checkpoint)
    weights.layout.assign(model, weights.parameters, weights.statistics)


def refuse_unless_finite(scores: NDArray[np.float32], checkpoint: CheckpointInfo) -> None:
    """Refuses scores [B, k] of a checkpoint's network that are no numbers.

    Raises:
        CheckpointError: its weights are NaN, or so large that the network overflows.
    """
    wrong = ~np.isfinite(scores)
    if wrong.any():
        raise CheckpointError(
            f"{checkpoint.path}: expected finite scores, received {scores[wrong][0]} for "
            f"{np.count_nonzero(wrong.any(axis=1))} of {len(scores)} images: {_DIVERGED}"
        )


def refuse_weights_unless_finite(weights: FlatWeights, checkpoint: CheckpointInfo) -> None:
    """Refuses weights that are no numbers, also where no score shows it: that of a class behind the
    k best ones is not looked at, and an infinite variance makes its feature a constant.

    Raises:
        CheckpointError: it names the first variable.
    """
    layout = weights.layout
    for slots, vector in (
        (layout.parameters, weights.parameters),
        (layout.statistics, weights.statistics),
    ):
        wrong = np.flatnonzero(~np.isfinite(vector))
        if len(wrong):
            name = next(slot.path for slot in slots if wrong[0] < slot.stop)
            raise CheckpointError(
                f"{checkpoint.path}: expected finite weights, received {vector[wrong[0]]} in "
                f"{name}, and {len(wrong):,} in all: {_DIVERGED}"
            )


_DIVERGED = (
    "training diverged before this checkpoint; name an earlier one with --step, and train again "
    "with a lower trainer.schedule.learning_rate or with trainer.global_clipnorm"
)


def top_classes(logits: tf.Tensor, kind: LossKind, k: int) -> tuple[tf.Tensor, tf.Tensor]:
    """The k most probable classes of each image, ranked on the device.

    Ranked by logit and not by probability: in float32 the sigmoids of 17, 18 and 25 are all 1, and
    the order of class ids would decide between them.

    Args:
        logits: [B, C].
        k: as many as there are classes, at most.

    Returns:
        Scores float32 [B, min(k, C)], highest first, and class ids int32 of that shape; equal
        logits are ordered by class id. A score is the logit for a sigmoid loss, and the logarithm
        of the probability for softmax, whose logits mean nothing beside those of other images.
    """
    logits = tf.cast(logits, tf.float32)
    # tf.math.top_k puts the lower index first among equals.
    best = tf.math.top_k(logits, tf.minimum(k, tf.shape(logits)[1]))
    scores = best.values
    if kind is LossKind.SOFTMAX:
        scores -= tf.reduce_logsumexp(logits, axis=1, keepdims=True)
    return scores, best.indices


def probabilities(scores: tf.Tensor, kind: LossKind) -> tf.Tensor:
    """The probabilities, float32, that scores of `top_classes` stand for."""
    return tf.exp(scores) if kind is LossKind.SOFTMAX else tf.sigmoid(scores)
