"""Xception against keras.applications, and what each option changes."""

import keras
import numpy as np
import pytest
from pydantic import ValidationError

from manylabel.trainer.networks.build import build_model, decayed_variables
from manylabel.trainer.networks.config import XceptionConfig

pytestmark = pytest.mark.slow

SMALL = {"input_size": 32, "width": 0.125, "middle_repeats": 1}


def count(variables):
    return sum(int(np.prod(variable.shape)) for variable in variables)


def trainable(classes=10, **fields):
    return count(build_model(XceptionConfig(**SMALL | fields), classes).trainable_weights)


def layer_names(**fields):
    return [layer.name for layer in build_model(XceptionConfig(**SMALL | fields), 10).layers]


@pytest.fixture(scope="module")
def pair():
    """Our Xception and the reference, with the same random weights in both."""
    keras.utils.set_random_seed(0)
    ours = build_model(XceptionConfig(), 1000)
    reference = keras.applications.Xception(weights=None, classifier_activation=None)
    randomise(reference)
    copy_weights(reference, ours)
    return ours, reference


def randomise(model):
    generator = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            for variable in (layer.gamma, layer.moving_variance):
                variable.assign(generator.uniform(0.5, 1.5, variable.shape))
            for variable in (layer.beta, layer.moving_mean):
                variable.assign(generator.normal(0, 0.2, variable.shape))
        if isinstance(layer, keras.layers.Dense):
            layer.bias.assign(generator.normal(0, 1, layer.bias.shape))


def values_by_name(reference):
    """The reference's layers under our names: variables as (trainable, others) lists.

    Its four shortcuts have automatic names, in the order of the blocks 2, 3, 4 and 13; its
    separable convolution is one layer where ours are two.
    """
    named = {}
    shortcuts = iter([2, 2, 3, 3, 4, 4, 13, 13])
    for layer in reference.layers:
        if isinstance(layer, keras.layers.SeparableConv2D):
            named[f"{layer.name}_depthwise"] = [layer.depthwise_kernel]
            named[f"{layer.name}_pointwise"] = [layer.pointwise_kernel]
        elif layer.weights and not layer.name.startswith(("block", "predictions")):
            kind = "_bn" if isinstance(layer, keras.layers.BatchNormalization) else ""
            named[f"block{next(shortcuts)}_shortcut{kind}"] = layer.weights
        elif layer.weights:
            named[layer.name] = layer.weights
    return named


def copy_weights(reference, ours):
    named = values_by_name(reference)
    layers = {layer.name: layer for layer in ours.layers if layer.weights}
    assert layers.keys() == named.keys()
    for name, layer in layers.items():
        for variable, source in zip(layer.weights, named[name], strict=True):
            assert variable.shape == source.shape
            variable.assign(source.numpy())


def images(count_, size, seed=1):
    return np.random.default_rng(seed).uniform(-1, 1, (count_, size, size, 3)).astype(np.float32)


def test_parameter_counts_are_the_papers(pair):
    ours, reference = pair
    assert count(ours.trainable_weights) == count(reference.trainable_weights) == 22_855_952
    assert count(ours.weights) == count(reference.weights) == 22_910_480
    # 17,000 classes instead of 1,000, each with 2,048 weights and a bias.
    assert trainable(17_000, width=1, middle_repeats=8) == 22_855_952 + 16_000 * 2_049 == 55_639_952


def test_inference_equals_keras_applications(pair):
    ours, reference = pair
    batch = images(2, 299)
    expected = reference(batch, training=False).numpy()
    assert np.abs(expected).max() > 0.5
    np.testing.assert_allclose(ours(batch, training=False).numpy(), expected, atol=1e-5)


def test_training_equals_keras_applications(pair):
    ours, reference = pair
    batch = images(2, 299, seed=2)
    expected = reference(batch, training=True).numpy()
    assert np.abs(expected).max() > 0.5
    np.testing.assert_allclose(ours(batch, training=True).numpy(), expected, atol=1e-5)
    named = values_by_name(reference)
    for layer in ours.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            _, _, mean, variance = named[layer.name]
            np.testing.assert_allclose(layer.moving_mean, mean, atol=1e-5)
            np.testing.assert_allclose(layer.moving_variance, variance, atol=1e-5)


def test_logits_have_no_activation(pair):
    ours, _ = pair
    logits = ours(images(1, 299)).numpy()
    assert logits.min() < 0 < logits.max()
    assert abs(logits.sum() - 1) > 0.1


def test_logits_are_float32_in_mixed_precision():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = build_model(XceptionConfig(**SMALL), 10)
    finally:
        keras.config.set_dtype_policy(before)
    assert model.get_layer("block2_sepconv1_pointwise").compute_dtype == "bfloat16"
    assert {weight.dtype for weight in model.weights} == {"float32"}
    assert model(images(1, 32)).dtype == "float32"


def test_width_rounds_channels_to_multiples_of_eight():
    def channels(width):
        model = build_model(XceptionConfig(**SMALL | {"width": width}), 10)
        return [model.get_layer(name).filters for name in ("block1_conv1", "block4_shortcut")]

    assert channels(1.0) == [32, 728]
    assert channels(0.5) == [16, 368]  # 364 lies between 360 and 368; 46 is even
    assert channels(0.1) == [8, 72]
    assert channels(2.0) == [64, 1456]


def test_middle_repeats_add_three_separable_convolutions_each():
    # Each: 9 depthwise weights a channel, a square pointwise matrix, gamma and beta.
    channels = 88  # 728 / 8 = 91, to a multiple of 8
    one = 3 * (9 * channels + channels**2 + 2 * channels)
    counts = [trainable(middle_repeats=repeats) for repeats in range(4)]
    assert np.diff(counts).tolist() == [one] * 3


def test_without_residual_only_the_shortcuts_go():
    # Blocks 2, 3, 4 and 13 at 1/8 of the width: a matrix, gamma and beta each.
    sides = [(8, 16), (16, 32), (32, 88), (88, 128)]
    shortcuts = sum(inputs * outputs + 2 * outputs for inputs, outputs in sides)
    assert trainable() - trainable(residual=False) == shortcuts
    assert not any("shortcut" in name or "add" in name for name in layer_names(residual=False))


@pytest.mark.parametrize("activation", ["relu", "elu"])
def test_intermediate_activation_stands_between_depthwise_and_pointwise(activation):
    model = build_model(XceptionConfig(**SMALL, intermediate_activation=activation), 10)
    added = [layer for layer in model.layers if layer.name.endswith("_intermediate")]
    assert len(added) == sum(layer.name.endswith("_depthwise") for layer in model.layers) == 13
    for layer in added:
        assert layer.activation is keras.activations.get(activation)
        step = layer.name.removesuffix("_intermediate")
        assert layer.input is model.get_layer(f"{step}_depthwise").output
        assert model.get_layer(f"{step}_pointwise").input is layer.output
    assert trainable(intermediate_activation=activation) == trainable()
    assert not any("intermediate" in name for name in layer_names())


def test_depth_multiplier_multiplies_depthwise_and_pointwise_kernels():
    model = build_model(XceptionConfig(**SMALL), 10)
    kernels = sum(
        count(layer.weights)
        for layer in model.layers
        if layer.name.endswith(("_depthwise", "_pointwise"))
    )
    assert trainable(depth_multiplier=3) - trainable() == 2 * kernels


def test_fully_connected_layers():
    # 2,048 / 8 = 256 features; the classifier moves from 256 to 32 inputs.
    assert trainable(fully_connected=(64, 32)) - trainable() == (
        (256 * 64 + 64) + (64 * 32 + 32) + (32 - 256) * 10
    )
    full = {"width": 1, "middle_repeats": 8}
    assert trainable(1000, **full, fully_connected=(4096, 4096)) == 22_855_952 + (
        (2048 + 1) * 4096 + (4096 + 1) * 4096 + (4096 - 2048) * 1000
    )
    # Gamma and beta replace the bias.
    normalised = {"fully_connected": (64, 32), "fully_connected_batch_norm": True}
    assert trainable(**normalised) - trainable(fully_connected=(64, 32)) == 64 + 32
    names = layer_names(**normalised)
    first = names.index("fully_connected1")
    assert names[first : first + 3] == [
        "fully_connected1",
        "fully_connected1_bn",
        "fully_connected1_act",
    ]
    linear = layer_names(fully_connected=(64,), fully_connected_activation="none")
    assert "fully_connected1_act" not in linear


def test_dropout_acts_before_the_classifier_in_training_only():
    assert "dropout" not in layer_names()
    model = build_model(XceptionConfig(**SMALL, dropout=0.5, fully_connected=(64,)), 10)
    layer = model.get_layer("dropout")
    assert layer.rate == 0.5
    assert model.get_layer("predictions").input is layer.output
    batch = images(1, 32)
    still = [model(batch, training=False).numpy() for _ in range(2)]
    np.testing.assert_array_equal(*still)
    inputs = np.ones((1, 64), np.float32)
    assert np.unique(layer(inputs, training=True)).tolist() == [0.0, 2.0]


def test_batch_norm_and_input_settings_reach_every_layer():
    model = build_model(
        XceptionConfig(**SMALL, batch_norm_momentum=0.7, batch_norm_epsilon=0.02), 10
    )
    found = [x for x in model.layers if isinstance(x, keras.layers.BatchNormalization)]
    assert {(layer.momentum, layer.epsilon) for layer in found} == {(0.7, 0.02)}
    assert model.input_shape == (None, 32, 32, 3)
    assert model.output_shape == (None, 10)


def test_the_smallest_input_has_pixels_left_at_the_end():
    model = build_model(XceptionConfig(**SMALL), 10)
    assert model.get_layer("avg_pool").input.shape[1:3] == (1, 1)
    full = build_model(XceptionConfig(**SMALL | {"input_size": 299}), 10)
    sizes = [
        full.get_layer(name).output.shape[1]
        for name in ("block1_conv1", "block1_conv2", "block2_pool", "block3_pool", "block4_pool")
    ]
    assert [*sizes, full.get_layer("avg_pool").input.shape[1]] == [149, 147, 74, 37, 19, 10]


def test_decay_is_for_kernels_only():
    model = build_model(XceptionConfig(**SMALL, fully_connected=(16,)), 10)
    decayed = decayed_variables(model)
    trainables = {variable.path for variable in model.trainable_weights}
    assert decayed < trainables
    assert {path.rsplit("/")[-1] for path in decayed} == {"kernel"}
    assert {path.rsplit("/")[-1] for path in trainables - decayed} == {"gamma", "beta", "bias"}
    # 2 in the stem, 2 in each of 13 separable convolutions, 4 shortcuts, 2 dense.
    assert len(decayed) == 2 + 2 * 13 + 4 + 2


def test_the_seed_makes_the_weights():
    def first_kernel(seed):
        keras.utils.set_random_seed(seed)
        return build_model(XceptionConfig(**SMALL), 10).trainable_weights[0].numpy()

    np.testing.assert_array_equal(first_kernel(1), first_kernel(1))
    assert (first_kernel(1) != first_kernel(2)).any()


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "inception"},
        {"input_size": 31},
        {"width": 0},
        {"middle_repeats": -1},
        {"depth_multiplier": 0},
        {"fully_connected": (0,)},
        {"dropout": 1.0},
        {"batch_norm_momentum": 1.0},
        {"batch_norm_epsilon": 0},
        {"intermediate_activation": "tanh"},
        {"head_bias": "priro"},
        {"classes": 5},
    ],
)
def test_wrong_settings_are_errors(fields):
    with pytest.raises(ValidationError):
        XceptionConfig(**fields)


def test_a_model_needs_a_class():
    with pytest.raises(ValueError, match="classes=0"):
        build_model(XceptionConfig(**SMALL), 0)
