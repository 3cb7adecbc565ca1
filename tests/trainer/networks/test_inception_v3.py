"""Inception V3 in both forms: against keras.applications, and against a table of layers."""

import keras
import numpy as np
import pytest

from manylabel.trainer.networks.build import build_model
from manylabel.trainer.networks.config import InceptionV3Config

pytestmark = pytest.mark.slow

# Layer, side length and channels at 299 pixels, of the form of August 2016: by hand from the
# published code of the time.
TABLE_2016 = [
    ("stem_conv1", 149, 32),
    ("stem_conv2", 147, 32),
    ("stem_conv3", 147, 64),
    ("stem_pool1", 73, 64),
    ("stem_conv4", 73, 80),
    ("stem_conv5", 71, 192),
    ("stem_pool2", 35, 192),
    ("mixed0", 35, 64 + 64 + 96 + 32),
    ("mixed1", 35, 256),
    ("mixed2", 35, 256),
    ("mixed3", 17, 384 + 96 + 256),
    ("mixed4", 17, 768),
    ("mixed5", 17, 768),
    ("mixed6", 17, 768),
    ("mixed7", 17, 768),
    ("mixed8", 8, 320 + 192 + 768),
    ("mixed9", 8, 2048),
    ("mixed10", 8, 2048),
]


def config(**fields):
    return InceptionV3Config(name="inception_v3", **fields)


def without_weights(**fields):
    with keras.StatelessScope(initialize_variables=False):
        return build_model(config(**fields), 10)


def test_outputs_equal_keras_applications(randomise, noise, equal_outputs):
    """At 139 pixels: the layers are the same at each size, and 3 x 3 places are left at the end."""
    reference = keras.applications.InceptionV3(
        weights=None, input_shape=(139, 139, 3), classes=10, classifier_activation=None
    )
    randomise(reference)
    ours = build_model(config(input_size=139), 10)
    equal_outputs(ours, reference, noise(4, 139))


def test_the_layers_of_2016():
    model = without_weights(variant=2016)
    received = [
        (name, model.get_layer(name).output.shape[1], model.get_layer(name).output.shape[-1])
        for name, _, _ in TABLE_2016
    ]
    assert received == TABLE_2016
    assert model.get_layer("mixed3").output.shape[-1] == 736
    kernels = {layer.name: layer.filters for layer in model.layers if hasattr(layer, "filters")}
    assert [kernels[f"mixed{n}_pool_1x1_1"] for n in range(3)] == [32] * 3
    assert [kernels[f"mixed{n}_double7x7_1"] for n in range(4, 8)] == [128, 160, 160, 160]
    assert [kernels[f"mixed{n}_double7x7_2"] for n in range(4, 8)] == [128, 160, 160, 192]


def test_relu_comes_before_batch_normalisation_in_2016_and_after_it_today():
    for variant, before, after in (("2016", "act", "bn"), ("keras", "bn", "act")):
        model = without_weights(variant=variant)
        convolutions = [x for x in model.layers if isinstance(x, keras.layers.Conv2D)]
        assert len(convolutions) == 94
        for layer in convolutions:
            first = model.get_layer(f"{layer.name}_{before}")
            assert first.input is layer.output
            assert model.get_layer(f"{layer.name}_{after}").input is first.output
            assert layer.use_bias is (variant == "2016")
            assert model.get_layer(f"{layer.name}_bn").scale is (variant == "2016")


def test_mixed8_pools_by_average_in_2016_and_mixed3_never():
    for variant, pooling in (
        ("2016", keras.layers.AveragePooling2D),
        ("keras", keras.layers.MaxPooling2D),
    ):
        model = without_weights(variant=variant)
        assert type(model.get_layer("mixed8_pool")) is pooling
        assert type(model.get_layer("mixed3_pool")) is keras.layers.MaxPooling2D


@pytest.mark.parametrize(("padding", "sides"), [("valid", [9, 4, 1]), ("same", [12, 6, 3])])
def test_padding_decides_what_is_left_of_small_images(padding, sides):
    model = without_weights(padding=padding, input_size=96)
    names = ("mixed2", "mixed7", "mixed10")
    assert [model.get_layer(name).output.shape[1] for name in names] == sides
    counts = [sum(int(np.prod(weight.shape)) for weight in x.weights) for x in (model,)]
    other = without_weights(padding="valid", input_size=299)
    assert counts == [sum(int(np.prod(weight.shape)) for weight in other.weights)]


def test_the_smallest_images_leave_one_place():
    assert without_weights(input_size=75).get_layer("mixed10").output.shape[1] == 1
    small = without_weights(input_size=32, padding="same")
    assert small.get_layer("mixed10").output.shape[1] == 1
