"""One replica of the model: weights in as shard slices, gradients out as shard slices."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import keras
import tensorflow as tf

from manylabel.trainer.networks.handover import TENSOR_ALIGNMENT, to_tensor, to_vector
from manylabel.trainer.plane.layout import ParameterLayout, VariableSlot, cut, fragments
from manylabel.trainer.plane.optimizers import FloatVector
from manylabel.trainer.records.batches import SparseLabels


@dataclass(frozen=True)
class Gradient:
    """What one batch gives.

    Attributes:
        parameters: per shard float32[n], the gradient of the mean loss.
        statistics: per shard float32[m], the batch's part in BatchNorm's running statistics:
            (1 - momentum) * the batch's mean or variance.
        loss: mean loss of the batch, without the L2 term.
    """

    parameters: list[FloatVector]
    statistics: list[FloatVector]
    loss: float


class ModelReplica:
    """Computes gradients with its own copy of the model.

    The slices are split and joined inside the graph, so that a device sees one transfer per shard
    and each value is copied once on its way into a variable, and once on its way out of a gradient.

    Args:
        model: float32 images [B, S, S, 3] to logits [B, C].
        loss: (logits, labels) to a scalar, the batch's mean.
        shards: into how many ranges the flat vectors are cut.
        statistics_momentum: of the model's BatchNorm layers.
        compiled_batch_size: of batches whose two passes through the model are compiled with XLA;
            None: no batch's. For GPUs only: on CPUs it makes Xception several times slower. A batch
            of another size, such as a run's last one, goes through the plain passes, since
            compiling Xception takes a minute or two. The loss stays outside, since the number of
            labels differs from batch to batch and XLA would compile each anew.
    """

    def __init__(
        self,
        model: keras.Model,
        layout: ParameterLayout,
        loss: Callable[[tf.Tensor, SparseLabels], tf.Tensor],
        shards: int,
        statistics_momentum: float,
        *,
        compiled_batch_size: int | None = None,
    ) -> None:
        self._model = model
        self._loss = loss
        self._statistics_momentum = statistics_momentum
        self._compiled_batch_size = compiled_batch_size
        self._parameters = _Cuts(layout.parameters, layout.parameter_count, shards)
        self._statistics = _Cuts(layout.statistics, layout.statistics_count, shards)
        size = model.input_shape[1]
        signature = [
            tf.TensorSpec([None, size, size, 3], tf.float32),
            SparseLabels(
                tf.TensorSpec([None], tf.int64),
                tf.TensorSpec([None], tf.int64),
                tf.TensorSpec([None], tf.float32),
            ),
        ]
        forward = partial(model, training=True)
        # One graph for every batch, the smaller last one included, and one for those of that size.
        # Without AutoGraph, which leaves files in TMPDIR where a worker is killed.
        function = partial(tf.function, autograph=False)
        self._plain = function(partial(self._gradient, forward), input_signature=signature)
        self._compiled = function(
            partial(self._gradient, function(forward, jit_compile=True)),
            input_signature=signature,
        )
        self._load = function(self._assign)

    def load(self, weights: Sequence[tuple[FloatVector, FloatVector]]) -> None:
        """Copies (parameters, statistics) of every shard, in shard order, into the model."""
        self._load([tuple(map(to_tensor, vectors)) for vectors in weights])

    def gradient(self, images: tf.Tensor, labels: SparseLabels) -> Gradient:
        """Runs both passes on a batch: float32 [B, S, S, 3] in [-1, 1] and its labels."""
        is_compiled = images.shape[0] == self._compiled_batch_size
        compute = self._compiled if is_compiled else self._plain
        parameters, statistics, loss = compute(images, labels)
        return Gradient(
            [to_vector(slice_) for slice_ in parameters],
            [to_vector(slice_) for slice_ in statistics],
            float(loss),
        )

    def _assign(self, weights: list[tuple[tf.Tensor, tf.Tensor]]) -> None:
        self._parameters.assign(self._model.trainable_variables, [w for w, _ in weights])
        self._statistics.assign(self._model.non_trainable_weights, [s for _, s in weights])

    def _gradient(
        self, forward: Callable[[tf.Tensor], tf.Tensor], images: tf.Tensor, labels: SparseLabels
    ) -> tuple[list[tf.Tensor], list[tf.Tensor], tf.Tensor]:
        before = [tf.identity(v.value) for v in self._model.non_trainable_weights]
        variables = self._model.trainable_variables
        with tf.GradientTape() as tape:
            loss = self._loss(forward(images), labels)
        gradients = tape.gradient(
            loss,
            [v.value for v in variables],
            unconnected_gradients=tf.UnconnectedGradients.ZERO,
        )
        contributed = [
            after.value - self._statistics_momentum * earlier
            for after, earlier in zip(self._model.non_trainable_weights, before, strict=True)
        ]
        return self._parameters.join(gradients), self._statistics.join(contributed), loss


class _Cuts:
    """How a flat vector's variables and its shards overlap."""

    def __init__(self, slots: Sequence[VariableSlot], count: int, shards: int) -> None:
        self._shapes = [slot.shape for slot in slots]
        self._shards = [fragments(slots, *range_) for range_ in cut(count, shards)]
        self._begins = [
            max(0, start - slots[parts[0].variable].offset) if parts else 0
            for (start, _), parts in zip(cut(count, shards), self._shards, strict=True)
        ]

    def assign(self, variables: Sequence[Any], slices: Sequence[tf.Tensor]) -> None:
        """Copies shard slices into variables."""
        pieces: list[list[tf.Tensor]] = [[] for _ in self._shapes]
        for slice_, parts in zip(slices, self._shards, strict=True):
            split = _split(slice_, [part.stop - part.start for part in parts])
            for part, piece in zip(parts, split, strict=True):
                pieces[part.variable].append(piece)
        for variable, shape, parts_of_it in zip(variables, self._shapes, pieces, strict=True):
            whole = parts_of_it[0] if len(parts_of_it) == 1 else tf.concat(parts_of_it, 0)
            variable.assign(tf.reshape(whole, shape))

    def join(self, values: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        """Joins the variables' values into one tensor per shard."""
        slices = []
        for begin, parts in zip(self._begins, self._shards, strict=True):
            pieces = []
            for index, part in enumerate(parts):
                flat = tf.reshape(values[part.variable], [-1])
                offset = begin if index == 0 else 0
                pieces.append(flat[offset : offset + part.stop - part.start])
            slices.append(tf.concat(pieces, 0) if pieces else tf.zeros([0]))
        return slices


def _split(slice_: tf.Tensor, sizes: Sequence[int]) -> list[tf.Tensor]:
    """Copies of the consecutive parts of a slice.

    tf.split copies, unless there is one part or all of them are aligned: then it gives views, and
    a variable that took over a view would write to the slice's memory, which is not ours.
    """
    if not sizes:  # an empty shard, which tf.split refuses to cut into no parts
        return []
    parts = tf.split(slice_, sizes)
    if len(sizes) > 1 and any(size * slice_.dtype.size % TENSOR_ALIGNMENT for size in sizes):
        return parts
    return [tf.raw_ops.DeepCopy(x=part) for part in parts]
