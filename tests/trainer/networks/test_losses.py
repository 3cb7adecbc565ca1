"""The sparse losses against TensorFlow's dense ones and against plain float64 sums."""

import numpy as np
import pytest
import tensorflow as tf
from pydantic import ValidationError

from manylabel.trainer.networks.loss_config import LossConfig
from manylabel.trainer.networks.losses import label_loss
from manylabel.trainer.records.batches import SparseLabels

SIGMOID = LossConfig()
SOFTMAX = LossConfig(kind="softmax")

# Rows 1 and 5 have no labels, row 2 has every class, row 4 has one of confidence 0.
TRIPLES = [
    (0, 3, 1.0),
    (0, 0, 0.25),
    (2, 0, 1.0),
    (2, 1, 0.5),
    (2, 2, 1.0),
    (2, 3, 0.125),
    (2, 4, 1.0),
    (3, 4, 0.7),
    (4, 1, 0.0),
]


def sparse(triples):
    rows, classes, confidences = zip(*triples, strict=True) if triples else ((), (), ())
    return SparseLabels(
        tf.constant(rows, tf.int64),
        tf.constant(classes, tf.int64),
        tf.constant(confidences, tf.float32),
    )


def dense(triples, shape):
    """Repeated labels add up."""
    matrix = np.zeros(shape, np.float32)
    for row, column, confidence in triples:
        matrix[row, column] += confidence
    return matrix


def value_and_gradient(logits, loss):
    logits = tf.constant(logits)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        value = loss(logits)
    return value.numpy(), tf.convert_to_tensor(tape.gradient(value, logits)).numpy()


def logits_of(shape, scale=3.0):
    return np.random.default_rng(1).normal(0, scale, shape).astype(np.float32)


@pytest.mark.parametrize(
    "triples",
    [TRIPLES, TRIPLES[::-1], [], [*TRIPLES, (0, 3, 0.5), (0, 3, 0.5), (5, 2, 1.0)]],
    ids=["some", "unordered", "none", "repeated"],
)
@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_sigmoid_equals_the_dense_cross_entropy(triples, reduction):
    logits = logits_of((6, 5))
    targets = dense(triples, logits.shape)
    config = LossConfig(class_reduction=reduction)
    reduce = tf.reduce_sum if reduction == "sum" else tf.reduce_mean

    def reference(z):
        losses = tf.nn.sigmoid_cross_entropy_with_logits(labels=targets, logits=z)
        return tf.reduce_mean(reduce(losses, axis=1))

    expected, expected_gradient = value_and_gradient(logits, reference)
    value, gradient = value_and_gradient(logits, lambda z: label_loss(z, sparse(triples), config))
    assert value == pytest.approx(expected, rel=1e-6)
    np.testing.assert_allclose(gradient, expected_gradient, atol=1e-6)


def test_sigmoid_equals_the_dense_cross_entropy_with_many_classes():
    generator = np.random.default_rng(0)
    triples = [(row, int(c), 1.0) for row in range(8) for c in generator.integers(0, 17_000, 5)]
    logits = logits_of((8, 17_000))
    targets = dense(triples, logits.shape)

    def reference(z):
        losses = tf.nn.sigmoid_cross_entropy_with_logits(labels=targets, logits=z)
        return tf.reduce_mean(tf.reduce_sum(losses, axis=1))

    expected, expected_gradient = value_and_gradient(logits, reference)
    value, gradient = value_and_gradient(logits, lambda z: label_loss(z, sparse(triples), SIGMOID))
    assert value == pytest.approx(expected, rel=1e-6)
    np.testing.assert_allclose(gradient, expected_gradient, atol=1e-6)


def test_softmax_equals_the_dense_cross_entropy_of_normalised_labels():
    logits = logits_of((6, 5))
    targets = dense(TRIPLES, logits.shape)
    mass = targets.sum(axis=1, keepdims=True)
    shares = np.divide(targets, mass, out=np.zeros_like(targets), where=mass > 0)

    def reference(z):
        losses = tf.nn.softmax_cross_entropy_with_logits(labels=shares, logits=z)
        # TensorFlow's gradient is that of targets that sum to 1, also where they sum to 0.
        return tf.reduce_mean(tf.where(mass[:, 0] > 0, losses, 0.0))

    expected, expected_gradient = value_and_gradient(logits, reference)
    value, gradient = value_and_gradient(logits, lambda z: label_loss(z, sparse(TRIPLES), SOFTMAX))
    assert value == pytest.approx(expected, rel=1e-6)
    np.testing.assert_allclose(gradient, expected_gradient, atol=1e-6)


def test_large_logits_lose_nothing():
    """Right at +-1e4 costs 0 and wrong costs 1e4, with no rounding of one into the other."""
    logits = np.full((2, 1000), -1e4, np.float32)
    logits[:, :10] = 1e4
    right = [(row, column, 1.0) for row in range(2) for column in range(10)]
    value, gradient = value_and_gradient(logits, lambda z: label_loss(z, sparse(right), SIGMOID))
    assert value == 0
    assert (gradient == 0).all()
    logits[0, 20] = np.log(np.expm1(0.001)).astype(np.float32)
    assert label_loss(logits, sparse(right), SIGMOID).numpy() == pytest.approx(0.0005, rel=1e-5)
    wrong = sparse([*right, (1, 999, 1.0)])
    assert label_loss(logits, wrong, SIGMOID).numpy() == pytest.approx(5000.0005, rel=1e-6)
    value, gradient = value_and_gradient(
        logits, lambda z: label_loss(z, sparse([(0, 0, 1.0), (1, 999, 1.0)]), SOFTMAX)
    )
    assert value == pytest.approx((np.log(10) + 2e4 + np.log(10)) / 2, rel=1e-6)
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("config", [SIGMOID, SOFTMAX])
def test_arithmetic_is_float32_for_narrow_logits(dtype, config):
    narrow = tf.cast(logits_of((6, 5)), dtype)
    loss = label_loss(narrow, sparse(TRIPLES), config)
    assert loss.dtype == tf.float32
    assert loss.numpy() == label_loss(tf.cast(narrow, tf.float32), sparse(TRIPLES), config).numpy()


def test_it_runs_in_one_graph_for_any_number_of_images_and_labels():
    @tf.function(
        input_signature=[
            tf.TensorSpec([None, 5]),
            SparseLabels(
                tf.TensorSpec([None], tf.int64),
                tf.TensorSpec([None], tf.int64),
                tf.TensorSpec([None]),
            ),
        ]
    )
    def graph(logits, labels):
        return label_loss(logits, labels, SIGMOID)

    for images, triples in ((6, TRIPLES), (1, TRIPLES[:2]), (3, [])):
        logits = logits_of((images, 5))
        eager = label_loss(logits, sparse(triples), SIGMOID).numpy()
        assert graph(logits, sparse(triples)).numpy() == pytest.approx(eager, rel=1e-6)


@pytest.mark.parametrize(
    "fields",
    [{"kind": "hinge"}, {"kinds": "sigmoid"}, {"kind": "softmax", "class_reduction": "mean"}],
)
def test_wrong_settings_are_errors(fields):
    with pytest.raises(ValidationError):
        LossConfig(**fields)
