"""The sparse losses against TensorFlow's and Keras's dense ones and against plain float64 sums."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from pydantic import ValidationError

from manylabel.trainer.networks.loss_config import LossConfig
from manylabel.trainer.networks.losses import label_loss
from manylabel.trainer.records.batches import SparseLabels

SIGMOID = LossConfig()
SOFTMAX = LossConfig(kind="softmax")
SMOOTHED = LossConfig(kind="softmax", label_smoothing=0.1)
KNOWN = LossConfig(unknown="ignore")
ALL = {
    "sigmoid": SIGMOID,
    "sigmoid mean": LossConfig(class_reduction="mean"),
    "sigmoid known": KNOWN,
    "sigmoid known mean": LossConfig(unknown="ignore", class_reduction="mean"),
    "softmax": SOFTMAX,
    "softmax smoothed": SMOOTHED,
}

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


def dense_loss(logits, triples, config):
    """Value and gradient in float64 over dense matrices, written from the formulas alone.

    Each triple's image and class must be its own.
    """
    z = logits.astype(np.float64)
    images, classes = z.shape
    targets, known = np.zeros(z.shape), np.zeros(z.shape)
    for row, column, confidence in triples:
        targets[row, column], known[row, column] = confidence, 1
    if config.kind == "softmax":
        mass = targets.sum(axis=1, keepdims=True)
        has_target = mass > 0
        shares = targets / np.where(has_target, mass, 1)
        shares = (1 - config.label_smoothing) * shares + config.label_smoothing / classes
        shares *= has_target
        shifted = z - z.max(axis=1, keepdims=True)
        probabilities = np.exp(shifted) / np.exp(shifted).sum(axis=1, keepdims=True)
        losses = -shares * (shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))
        return losses.sum() / images, (probabilities * has_target - shares) / images
    counted = known if config.unknown == "ignore" else np.ones(z.shape)
    if config.class_reduction == "mean":
        counted = counted / np.maximum(counted.sum(axis=1, keepdims=True), 1)
    losses = np.logaddexp(0, z) - targets * z
    gradient = 1 / (1 + np.exp(-z)) - targets
    return (losses * counted).sum() / images, gradient * counted / images


def jft_like_triples(images=8, classes=17_000):
    """On each image 5 labels of other confidences and 12 verified absences; on the last nothing."""
    generator = np.random.default_rng(0)
    triples = []
    for row in range(images - 1):
        chosen = generator.choice(classes, 17, replace=False).tolist()
        triples += [(row, c, 1 / (1 + place)) for place, c in enumerate(chosen[:5])]
        triples += [(row, c, 0.0) for c in chosen[5:]]
    return triples


@pytest.mark.parametrize("config", ALL.values(), ids=ALL)
@pytest.mark.parametrize(
    ("triples", "shape"),
    [(TRIPLES, (6, 5)), (jft_like_triples(), (8, 17_000))],
    ids=["5 classes", "17,000 classes"],
)
def test_value_and_gradient_equal_a_dense_float64_form(triples, shape, config):
    logits = logits_of(shape)
    expected, expected_gradient = dense_loss(logits, triples, config)
    value, gradient = value_and_gradient(logits, lambda z: label_loss(z, sparse(triples), config))
    assert value == pytest.approx(expected, rel=2e-6)
    largest = np.abs(expected_gradient).max()
    np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-4, atol=1e-6 * largest)


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_unknown_classes_have_no_gradient_and_no_say(reduction):
    """Exactly none, also where the model is most wrong about them."""
    triples = jft_like_triples()
    config = LossConfig(unknown="ignore", class_reduction=reduction)
    logits = logits_of((8, 17_000))
    known = np.zeros(logits.shape, bool)
    for row, column, _ in triples:
        known[row, column] = True
    value, gradient = value_and_gradient(logits, lambda z: label_loss(z, sparse(triples), config))
    assert (gradient[~known] == 0).all()
    assert (gradient[known] != 0).all()
    others = np.where(known, logits, np.float32(1e4))
    other_value, other_gradient = value_and_gradient(
        others, lambda z: label_loss(z, sparse(triples), config)
    )
    assert other_value == value
    np.testing.assert_array_equal(other_gradient, gradient)
    _, with_negatives = value_and_gradient(
        logits, lambda z: label_loss(z, sparse(triples), SIGMOID)
    )
    assert (with_negatives[~known] > 0).all(), "as negatives they are pushed down"


@pytest.mark.parametrize("config", [SIGMOID, SOFTMAX, SMOOTHED])
def test_where_unknown_is_negative_a_verified_absence_changes_nothing(config):
    labels = [triple for triple in jft_like_triples() if triple[2] > 0]
    logits = logits_of((8, 17_000))
    without, with_them = (
        value_and_gradient(logits, lambda z, t=triples: label_loss(z, sparse(t), config))
        for triples in (labels, jft_like_triples())
    )
    assert with_them[0] == pytest.approx(without[0], rel=2e-7)  # sums of other lengths
    np.testing.assert_array_equal(with_them[1], without[1])


@pytest.mark.parametrize("smoothing", [0.1, 0.5])
def test_smoothing_of_one_label_equals_keras(smoothing):
    logits = logits_of((8, 17_000))
    chosen = np.random.default_rng(2).integers(0, 17_000, 8)
    targets = keras.utils.to_categorical(chosen, 17_000)
    golden = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=smoothing)
    expected, expected_gradient = value_and_gradient(logits, lambda z: golden(targets, z))
    labels = sparse([(row, int(c), 1.0) for row, c in enumerate(chosen)])
    config = LossConfig(kind="softmax", label_smoothing=smoothing)
    value, gradient = value_and_gradient(logits, lambda z: label_loss(z, labels, config))
    assert value == pytest.approx(expected, rel=2e-6)
    np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-4, atol=1e-8)


def test_the_least_smoothed_loss_is_at_the_smoothed_target():
    """Szegedy et al. 2016, section 7: without smoothing the best logit is infinite; with it, it is
    above the others by log((1 - s) C / s + 1)."""
    logits = np.zeros((1, 1000), np.float32)
    logits[0, 7] = np.log(0.9 * 1000 / 0.1 + 1)
    _, gradient = value_and_gradient(
        logits, lambda z: label_loss(z, sparse([(0, 7, 1.0)]), SMOOTHED)
    )
    np.testing.assert_allclose(gradient, 0, atol=1e-6)


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
@pytest.mark.parametrize("config", ALL.values(), ids=ALL)
def test_arithmetic_is_float32_for_narrow_logits(dtype, config):
    narrow = tf.cast(logits_of((6, 5)), dtype)
    loss = label_loss(narrow, sparse(TRIPLES), config)
    assert loss.dtype == tf.float32
    assert loss.numpy() == label_loss(tf.cast(narrow, tf.float32), sparse(TRIPLES), config).numpy()


@pytest.mark.parametrize("config", ALL.values(), ids=ALL)
def test_it_runs_in_one_graph_for_any_number_of_images_and_labels(config):
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
        return label_loss(logits, labels, config)

    for images, triples in ((6, TRIPLES), (1, TRIPLES[:2]), (3, [])):
        logits = logits_of((images, 5))
        eager = label_loss(logits, sparse(triples), config).numpy()
        assert graph(logits, sparse(triples)).numpy() == pytest.approx(eager, rel=1e-6)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kind": "hinge"}, "sigmoid"),
        ({"kinds": "sigmoid"}, "kinds"),
        ({"unknown": "positive"}, "negative"),
        ({"kind": "softmax", "class_reduction": "mean"}, "leave it at sum"),
        ({"kind": "softmax", "unknown": "ignore"}, "leave it at negative, or set kind=sigmoid"),
        ({"label_smoothing": 0.1}, "leave it at 0, or set kind=softmax"),
        ({"kind": "softmax", "label_smoothing": 1}, "less than 1"),
        ({"kind": "softmax", "label_smoothing": -0.1}, "greater than or equal to 0"),
        ({"kind": "softmax", "label_smoothing": float("nan")}, "label_smoothing"),
    ],
)
def test_wrong_settings_are_errors(fields, message):
    with pytest.raises(ValidationError, match=message):
        LossConfig(**fields)
