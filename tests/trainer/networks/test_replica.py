"""A replica's slices are the plain model's gradient and statistics, whatever the shards."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from manylabel.trainer.networks.replica import ModelReplica
from manylabel.trainer.plane.layout import ParameterLayout, cut
from manylabel.trainer.records.batches import SparseLabels

pytestmark = pytest.mark.slow

SHARDS = range(1, 6)
MOMENTUM = 0.7


def with_batch_norm():
    """Statistics of 8 values: fewer than one shard's alignment."""
    return keras.Sequential(
        [
            layers.Input((8, 8, 3)),
            layers.Conv2D(4, 3, use_bias=False),
            layers.BatchNormalization(momentum=MOMENTUM),
            layers.ReLU(),
            layers.Flatten(),
            layers.Dense(5),
        ]
    )


def tiny():
    """20 parameters and no statistics: fewer aligned ranges than shards."""
    return keras.Sequential(
        [
            layers.Input((8, 8, 3)),
            layers.GlobalAveragePooling2D(),
            layers.Dense(5),
        ]
    )


def loss(logits, labels):
    picked = tf.gather_nd(logits, tf.stack([labels.row_ids, labels.class_ids], axis=1))
    return tf.reduce_mean(logits**2) - tf.reduce_mean(labels.confidences * picked)


def batch(size=6):
    random = np.random.default_rng(size)
    images = tf.constant(random.uniform(-1, 1, (size, 8, 8, 3)), tf.float32)
    labels = SparseLabels(
        tf.constant(np.arange(size), tf.int64),
        tf.constant(random.integers(0, 5, size), tf.int64),
        tf.constant(random.random(size), tf.float32),
    )
    return images, labels


def replica(model, shards, **options):
    return ModelReplica(model, ParameterLayout.of(model), loss, shards, MOMENTUM, **options)


def slices(vector, shards):
    return [vector[start:stop] for start, stop in cut(len(vector), shards)]


@pytest.mark.parametrize("shards", SHARDS)
@pytest.mark.parametrize("build", [with_batch_norm, tiny])
def test_slices_reassemble_to_the_gradient_of_the_plain_model(build, shards):
    keras.utils.set_random_seed(3)
    model = build()
    parameters, statistics = ParameterLayout.of(model).read(model)
    images, labels = batch()

    gradient = replica(model, shards).gradient(images, labels)
    statistics_after = ParameterLayout.of(model).read(model)[1]

    ParameterLayout.of(model).assign(model, parameters, statistics)
    with tf.GradientTape() as tape:
        expected_loss = loss(model(images, training=True), labels)
    expected = tape.gradient(expected_loss, model.trainable_variables)
    flat = np.concatenate([np.ravel(part) for part in expected])

    assert [len(part) for part in gradient.parameters] == [b - a for a, b in cut(len(flat), shards)]
    assert all(part.dtype == np.float32 for part in gradient.parameters + gradient.statistics)
    np.testing.assert_allclose(np.concatenate(gradient.parameters), flat, rtol=1e-5, atol=1e-6)
    assert gradient.loss == pytest.approx(float(expected_loss), rel=1e-6)
    contribution = np.concatenate([np.zeros(0, np.float32), *gradient.statistics])
    expected = statistics_after - np.float32(MOMENTUM) * statistics
    np.testing.assert_allclose(contribution, expected, rtol=0, atol=1e-7)
    if len(statistics):
        assert np.abs(statistics_after - statistics).max() > 1e-3


@pytest.mark.parametrize("shards", SHARDS)
@pytest.mark.parametrize("build", [with_batch_norm, tiny])
def test_load_takes_over_every_value(build, shards):
    model = build()
    layout = ParameterLayout.of(model)
    random = np.random.default_rng(shards)
    parameters = random.random(layout.parameter_count, np.float32)
    statistics = random.random(layout.statistics_count, np.float32)
    weights = list(zip(slices(parameters, shards), slices(statistics, shards), strict=True))
    for vectors in weights:
        for vector in vectors:
            vector.flags.writeable = False  # as they come from an object store
    replica(model, shards).load(weights)
    np.testing.assert_array_equal(layout.read(model)[0], parameters)
    np.testing.assert_array_equal(layout.read(model)[1], statistics)


def aligned_everywhere():
    """Each variable's 16 or 32 values are whole cache lines, for which tf.split makes views."""
    return keras.Sequential(
        [
            layers.Input((8, 8, 3)),
            layers.GlobalAveragePooling2D(),
            layers.Dense(16, use_bias=False, kernel_initializer="ones"),
            layers.BatchNormalization(momentum=MOMENTUM),
            layers.Dense(16),
        ]
    )


def one_variable():
    return keras.Sequential(
        [layers.Input((8, 8, 3)), layers.GlobalAveragePooling2D(), layers.Dense(5, use_bias=False)]
    )


@pytest.mark.parametrize("shards", [1, 2, 3])
@pytest.mark.parametrize("build", [with_batch_norm, tiny, aligned_everywhere, one_variable])
def test_nothing_that_happens_to_the_model_reaches_what_was_loaded(build, shards):
    """Other processes read the same memory, and nothing but care keeps it from being written."""
    model = build()
    own = replica(model, shards)
    weights = [
        tuple(read_only(vector) for vector in pair)
        for pair in zip(
            *(slices(vector, shards) for vector in ParameterLayout.of(model).read(model)),
            strict=True,
        )
    ]
    before = [vector.copy() for pair in weights for vector in pair]
    own.load(weights)
    own.gradient(*batch())
    for variable in model.variables:
        variable.value.assign_add(tf.ones(variable.shape))  # in place, where TensorFlow may
    own.load([tuple(vector + 1 for vector in pair) for pair in weights])
    for vector, copy in zip((v for pair in weights for v in pair), before, strict=True):
        np.testing.assert_array_equal(vector, copy)


def read_only(values):
    """As an object store hands it out: aligned, and not to be written."""
    memory = np.zeros(len(values) + 16, np.float32)
    vector = memory[-memory.ctypes.data % 64 // 4 :][: len(values)]
    vector[:] = values
    vector.flags.writeable = False
    return vector


def test_the_statistics_move_from_where_they_were_loaded():
    """Two batches from the same weights give two changes from the same point."""
    model = with_batch_norm()
    own = replica(model, 2)
    parameters, statistics = ParameterLayout.of(model).read(model)
    weights = list(zip(slices(parameters, 2), slices(statistics, 2), strict=True))
    changes = []
    for _ in range(2):
        own.load(weights)
        changes.append(np.concatenate(own.gradient(*batch()).statistics))
    np.testing.assert_array_equal(changes[0], changes[1])


def test_batches_of_another_size_and_without_labels():
    model = with_batch_norm()
    own = ModelReplica(
        model, ParameterLayout.of(model), lambda logits, _: tf.reduce_mean(logits**2), 1, MOMENTUM
    )
    nothing = SparseLabels(
        tf.zeros([0], tf.int64), tf.zeros([0], tf.int64), tf.zeros([0], tf.float32)
    )
    for size in (6, 1):
        assert np.isfinite(own.gradient(batch(size)[0], nothing).loss)


def test_a_parameter_that_the_loss_does_not_reach_has_a_zero_gradient():
    inputs = layers.Input((8, 8, 3))
    pooled = layers.GlobalAveragePooling2D()(inputs)
    unused = layers.Dense(5, name="unused")(pooled)
    model = keras.Model(inputs, layers.Dense(5)(pooled) + 0 * keras.ops.stop_gradient(unused))
    gradient = replica(model, 1).gradient(*batch()).parameters[0]
    layout = ParameterLayout.of(model)
    for slot in layout.parameters:
        part = gradient[slot.offset : slot.stop]
        assert (part == 0).all() == slot.path.startswith("unused")


def test_xla_gives_the_same_gradient():
    keras.utils.set_random_seed(4)
    model = with_batch_norm()
    plain = replica(model, 2).gradient(*batch())
    compiled = replica(model, 2, compiled_batch_size=6).gradient(*batch())
    for mine, its in zip(plain.parameters, compiled.parameters, strict=True):
        np.testing.assert_allclose(mine, its, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("compiled", "outside"), [(6, False), (5, True), (None, True)])
def test_batches_of_another_size_are_not_compiled(compiled, outside):
    """XLA refuses what the layer does. A plain graph does not."""

    class NotForXLA(layers.Layer):
        def call(self, images):
            return tf.reshape(tf.py_function(lambda x: x, [images], tf.float32), tf.shape(images))

    inputs = layers.Input((8, 8, 3))
    features = layers.GlobalAveragePooling2D()(NotForXLA()(inputs) + inputs)
    ours = replica(keras.Model(inputs, layers.Dense(5)(features)), 1, compiled_batch_size=compiled)
    if outside:
        assert np.isfinite(ours.gradient(*batch()).loss)
    else:
        with pytest.raises(tf.errors.InvalidArgumentError, match=r"[Cc]ompil"):
            ours.gradient(*batch())
