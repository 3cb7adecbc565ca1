"""VGG-16 against keras.applications."""

import keras
import numpy as np
import pytest

from manylabel.trainer.networks.build import build_model
from manylabel.trainer.networks.config import VGG16Config

SMALL = {"name": "vgg16", "input_size": 32, "width": 0.125}


def test_outputs_equal_keras_applications(randomise, noise, equal_outputs):
    """All layers at their full width but the fully connected ones, which hold 9 of 10 weights.

    32 pixels: one place is left at the end of the convolutions.
    """
    inputs = keras.Input((32, 32, 3))
    trunk = keras.applications.VGG16(weights=None, include_top=False, input_tensor=inputs)
    x = keras.layers.Flatten()(trunk.output)
    for units in (256, 128):
        x = keras.layers.Dense(units, activation="relu")(x)
    reference = keras.Model(inputs, keras.layers.Dense(10)(x))
    randomise(reference)
    ours = build_model(
        VGG16Config(name="vgg16", input_size=32, fully_connected=(256, 128), dropout=0.0), 10
    )
    equal_outputs(ours, reference, noise(4, 32))


def test_layers_and_names_are_those_of_keras_applications():
    with keras.StatelessScope(initialize_variables=False):
        reference = keras.applications.VGG16(weights=None)
        ours = build_model(VGG16Config(name="vgg16", dropout=0.0), 1000)

    def shapes(model):
        return [[w.shape for w in layer.weights] for layer in model.layers if layer.weights]

    assert shapes(ours) == shapes(reference)
    names = [layer.name for layer in ours.layers if layer.name.startswith(("block", "flatten"))]
    assert names == [
        layer.name for layer in reference.layers if layer.name.startswith(("block", "flatten"))
    ]


def test_dropout_follows_each_fully_connected_layer():
    model = build_model(VGG16Config(**SMALL, fully_connected=(16, 8)), 10)
    names = [layer.name for layer in model.layers]
    assert names[names.index("flatten") + 1 :] == [
        "fully_connected1",
        "fully_connected1_act",
        "fully_connected1_dropout",
        "fully_connected2",
        "fully_connected2_act",
        "dropout",
        "predictions",
    ]
    assert {model.get_layer(f"{x}dropout").rate for x in ("", "fully_connected1_")} == {0.5}


@pytest.mark.parametrize(("scale", "mode"), [("caffe", "caffe"), ("torch", "torch")])
def test_the_first_layer_sees_what_keras_applications_makes_of_pixels(scale, mode, noise):
    model = build_model(VGG16Config(**SMALL, input_scale=scale), 10)
    first = keras.Model(model.inputs, model.get_layer("block1_conv1").input)
    images = noise(2, 32)
    pixels = ((images.astype(np.float64) + 1) * 127.5).astype(np.float32)
    expected = keras.applications.imagenet_utils.preprocess_input(pixels.copy(), mode=mode)
    np.testing.assert_allclose(first(images), expected, rtol=0, atol=1e-4)


def test_by_default_it_sees_images_as_all_networks_do():
    model = build_model(VGG16Config(**SMALL), 10)
    assert model.get_layer("block1_conv1").input is model.inputs[0]
