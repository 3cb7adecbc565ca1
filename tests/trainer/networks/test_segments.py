"""Convolutions over segments of channels, against Keras' grouped and depthwise ones."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from manylabel.trainer.networks.build import build_model, decayed_variables, depthwise_variables
from manylabel.trainer.networks.config import XceptionConfig
from manylabel.trainer.networks.segments import SegmentedConv2D

pytestmark = pytest.mark.slow

SMALL = {"input_size": 32, "width": 0.125, "middle_repeats": 1}


def inputs(channels, batch=3, side=6):
    random = np.random.default_rng(channels)
    return random.standard_normal((batch, side, side, channels)).astype(np.float32)


def value_and_gradients(layer, x):
    """The output, and what a weighted sum of it gives for the inputs and the kernels."""
    x = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        output = layer(x)
        weights = np.random.default_rng(7).standard_normal(output.shape).astype(np.float32)
        total = tf.reduce_sum(output * weights)
    by_input, *by_kernel = tape.gradient(total, [x, *[v.value for v in layer.trainable_variables]])
    return output.numpy(), by_input.numpy(), [gradient.numpy() for gradient in by_kernel]


def grouped(channels, segments, kernel):
    layer = keras.layers.Conv2D(channels, 3, padding="same", groups=segments, use_bias=False)
    layer.build((None, 6, 6, channels))
    layer.kernel.assign(kernel)
    return layer


@pytest.mark.parametrize("segments", [1, 2, 4, 16, 32])
@pytest.mark.parametrize("channels", [32, 64])
def test_equals_keras_groups(channels, segments):
    x = inputs(channels)
    ours = SegmentedConv2D(segments)
    received = value_and_gradients(ours, x)
    assert ours.kernel.shape == (3, 3, channels // segments, channels)
    expected = value_and_gradients(grouped(channels, segments, ours.kernel.numpy()), x)
    for one, other in zip(received[:2], expected[:2], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(received[2][0], expected[2][0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("channels", "segments"), [(10, 3), (11, 4), (29, 3), (47, 5)])
def test_unequal_segments_equal_two_convolutions_with_groups(channels, segments):
    """Those of one channel more come first: 29 channels in 3 segments are 10, 10 and 9."""
    x = inputs(channels)
    ours = SegmentedConv2D(segments)
    output, by_input, (by_kernel, by_larger) = value_and_gradients(ours, x)
    larger = channels % segments
    edge = larger * (channels // segments + 1)
    assert ours.larger_kernel is not None
    first = grouped(edge, larger, ours.larger_kernel.numpy())
    second = grouped(channels - edge, segments - larger, ours.kernel.numpy())
    weights = np.random.default_rng(7).standard_normal(output.shape).astype(np.float32)
    parts = []
    for layer, part in ((first, slice(0, edge)), (second, slice(edge, None))):
        own = tf.constant(x[..., part])
        with tf.GradientTape() as tape:
            tape.watch(own)
            result = layer(own)
            total = tf.reduce_sum(result * weights[..., part])
        parts.append((result, *tape.gradient(total, [own, layer.kernel.value])))
    joined = [np.concatenate([part[i] for part in parts], axis=-1) for i in (0, 1)]
    np.testing.assert_allclose(output, joined[0], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(by_input, joined[1], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(by_larger, parts[0][2], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(by_kernel, parts[1][2], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("segments", [24, 1000])
def test_a_segment_for_each_channel_equals_a_depthwise_convolution(segments):
    x = inputs(24)
    ours = SegmentedConv2D(segments)
    received = value_and_gradients(ours, x)
    depthwise = keras.layers.DepthwiseConv2D(3, padding="same", use_bias=False)
    depthwise.build(x.shape)
    depthwise.kernel.assign(ours.kernel.numpy().reshape(3, 3, 24, 1))
    expected = value_and_gradients(depthwise, x)
    for one, other in zip(received[:2], expected[:2], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(received[2][0][:, :, 0], expected[2][0][..., 0], atol=1e-5)


def test_xception_of_as_many_segments_as_channels_is_xception(noise, randomise):
    def build(segments):
        fields = {**SMALL, "segments": segments, "depthwise_initial_scale": "fan_in"}
        return build_model(XceptionConfig(**fields), 10)

    plain, segmented = build("all"), build(1000)
    randomise(plain)
    assert len(plain.weights) == len(segmented.weights)
    for ours, source in zip(segmented.weights, plain.weights, strict=True):
        ours.assign(source.numpy().reshape(ours.shape))
    images = noise(2, 32)
    for training in (False, True):
        expected = plain(images, training=training).numpy()
        assert np.abs(expected).max() > 0.3
        received = segmented(images, training=training).numpy()
        np.testing.assert_allclose(received, expected, rtol=0, atol=1e-5)


def test_every_spatial_convolution_of_xception_but_the_stems_has_segments():
    model = build_model(XceptionConfig(**SMALL, segments=3), 10)
    found = [layer for layer in model.layers if isinstance(layer, SegmentedConv2D)]
    assert len(found) == 13
    assert {layer.segments for layer in found} == {3}
    kernels = {variable.path for layer in found for variable in layer.weights}
    assert kernels < decayed_variables(model)
    assert depthwise_variables(model) == frozenset()


def test_kernels_of_segments_of_one_channel_are_depthwise():
    config = XceptionConfig(input_size=32, width=0.06, middle_repeats=0, segments=1000)
    model = build_model(config, 3)
    expected = {v.path for v in model.trainable_variables if "_segments" in v.path}
    assert depthwise_variables(model) == expected != set()


def test_the_spread_of_the_first_weights():
    """keras: as its own layer; fan_in: outputs as far spread as inputs."""
    keras.utils.set_random_seed(0)

    def deviation(layer, channels=512):
        layer.build((None, 6, 6, channels))
        return float(np.std(layer.weights[0].numpy()))

    for segments, channels in ((4, 64), (512, 512)):
        theirs = keras.layers.Conv2D(channels, 3, padding="same", groups=segments, use_bias=False)
        expected = deviation(theirs, channels)
        assert deviation(SegmentedConv2D(segments), channels) == pytest.approx(expected, rel=0.05)
    for segments in (8, 512):
        spread = deviation(SegmentedConv2D(segments, initial_scale="fan_in"))
        assert spread == pytest.approx((9 * 512 / segments) ** -0.5, rel=0.05)


def test_depthwise_kernels_of_xception_begin_as_set():
    def deviation(**fields):
        model = build_model(XceptionConfig(**SMALL | {"width": 1} | fields), 10)
        return float(np.std(model.get_layer("block5_sepconv1_depthwise").kernel.numpy()))

    assert deviation() == pytest.approx((2 / (9 * 728 + 9)) ** 0.5, rel=0.05)  # 0.0175
    assert deviation(depthwise_initial_scale="fan_in") == pytest.approx(1 / 3, rel=0.05)


def test_a_saved_one_is_read_back(tmp_path):
    model = keras.Sequential(
        [keras.Input((6, 6, 10)), SegmentedConv2D(3, 5, initial_scale="fan_in")]
    )
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again(inputs(10)), model(inputs(10)))
    config = again.layers[0].get_config()
    assert (config["segments"], config["kernel_size"], config["initial_scale"]) == (3, 5, "fan_in")


def test_there_is_at_least_one_segment():
    with pytest.raises(ValueError, match="segments=0"):
        SegmentedConv2D(0)
