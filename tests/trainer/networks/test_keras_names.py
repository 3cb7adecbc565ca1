"""Files of keras.applications give their features in our networks, whatever layers are called."""

import keras
import numpy as np
import pytest
from pydantic import TypeAdapter

from manylabel.trainer.errors import InitialWeightsError
from manylabel.trainer.networks.build import build_model
from manylabel.trainer.networks.config import ModelConfig
from manylabel.trainer.networks.initial_weights import take_weights
from manylabel.trainer.networks.keras_names import application, without_counters
from manylabel.trainer.runs.weight_files import weight_file

pytestmark = pytest.mark.slow

SETTINGS = TypeAdapter(ModelConfig)

# Settings of a network of ours, and what keras.applications' is fed with in place of the images.
NETWORKS = {
    "inception v3": ({"name": "inception_v3", "input_size": 75}, None),
    "vgg16": ({"name": "vgg16", "input_size": 32, "fully_connected": []}, None),
    "resnet": ({"name": "resnet", "input_size": 32, "blocks": [3, 4, 6, 3]}, None),
    "pixels": (
        {"name": "keras_applications", "input_size": 64, "backbone": "MobileNetV3Small"},
        lambda images: (images + 1) * 127.5,
    ),
}


def name_of(config):
    """Its function in keras.applications."""
    found = application(config)
    assert found is not None
    return found.name


def features_of(model, images):
    """What the classifier sees."""
    trunk = keras.Model(model.input, model.get_layer("predictions").input)
    return trunk(images, training=False).numpy()


@pytest.mark.parametrize("case", NETWORKS)
def test_features_of_a_file_are_its_own(case, randomise, noise, tmp_path):
    tree, fed = NETWORKS[case]
    config = SETTINGS.validate_python(tree)
    shape = (config.input_size, config.input_size, 3)
    keras.utils.set_random_seed(0)
    reference = getattr(keras.applications, name_of(config))(
        weights=None, include_top=False, input_shape=shape, pooling=None if "vgg" in case else "avg"
    )
    randomise(reference)
    reference.save_weights(tmp_path / "a.weights.h5")
    images = noise(2, config.input_size)
    expected = reference(images if fed is None else fed(images), training=False).numpy()
    ours = build_model(config, 10)
    with weight_file(tmp_path / "a.weights.h5") as layers:
        taken = take_weights(ours, config, layers, "a.weights.h5")
    assert (taken.anew, taken.unused) == (("predictions",), ())
    expected = expected.reshape(2, -1)
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(features_of(ours, images), expected, rtol=1e-5, atol=1e-5)


class Shaped:
    """A stored array that is not to be read."""

    def __init__(self, variable):
        self.shape = tuple(variable.shape)

    def read(self):
        raise AssertionError("read")


class Held(Shaped):
    """One that may be."""

    def read(self):
        return np.zeros(self.shape, np.float32)


def stored(name, kind=Held, **options):
    """The arrays of a network of keras.applications, by its names, without its memory."""
    with keras.StatelessScope(initialize_variables=False):
        model = getattr(keras.applications, name)(weights=None, **options)
    layers: dict[str, list[Shaped]] = {}
    for variable in sorted(model.weights, key=lambda variable: not variable.trainable):
        layers.setdefault(variable.path.split("/")[-2], []).append(kind(variable))
    return layers


def take(tree, layers, classes=1000):
    config = SETTINGS.validate_python(tree)
    with keras.StatelessScope(initialize_variables=False):
        return take_weights(build_model(config, classes), config, layers, "a.h5")


BACKBONE = {"name": "keras_applications"}


@pytest.mark.parametrize(
    ("tree", "anew", "unused"),
    [
        ({"name": "inception_v3"}, (), ()),
        ({"name": "vgg16"}, (), ()),
        (
            {"name": "vgg16", "input_size": 64},
            ("fully_connected1", "fully_connected2", "predictions"),
            (),
        ),
        ({"name": "resnet"}, (), ()),
        ({"name": "resnet", "bias": True}, (), ()),
        (BACKBONE | {"backbone": "InceptionResNetV2"}, (), ()),
        (BACKBONE | {"backbone": "DenseNet121"}, (), ()),
        (BACKBONE | {"backbone": "NASNetMobile"}, (), ()),
        (BACKBONE | {"backbone": "EfficientNetV2B0"}, (), ()),
        (BACKBONE | {"backbone": "MobileNet"}, ("predictions",), ("conv_preds",)),
        (BACKBONE | {"backbone": "MobileNetV3Small"}, ("predictions",), ("conv_2", "logits")),
        (BACKBONE | {"backbone": "ConvNeXtTiny"}, ("predictions",), ("convnext_tiny_head_dense",)),
    ],
)
def test_a_file_with_its_classifier_fits(tree, anew, unused):
    """By name and shape, at full size: no weights are made."""
    taken = take(tree, stored(name_of(SETTINGS.validate_python(tree))))
    assert (taken.anew, taken.unused) == (anew, unused)


@pytest.mark.parametrize(
    ("tree", "name", "told"),
    [
        (
            {"name": "resnet"},
            "ResNet101",
            "102 of its 310 .* first conv3_block5_1_conv: .* received none",
        ),
        (
            {"name": "resnet", "blocks": [3, 4, 6, 3]},
            "ResNet101",
            "no place for 51 .* first conv4_block7_1_conv",
        ),
        ({"name": "resnet", "bias": True}, "VGG16", "first conv1_conv: .* received none"),
        ({"name": "inception_v3", "variant": "2016"}, "InceptionV3", "first stem_conv1: .* and 32"),
        ({"name": "vgg16", "width": 0.5}, "VGG16", "first block1_conv1: expected 3×3×3×32 and 32"),
        ({"name": "vgg_separable"}, "VGG16", "the first block1_sepconv1_depthwise: .* none"),
    ],
)
def test_another_networks_file_is_refused(tree, name, told):
    with pytest.raises(InitialWeightsError, match=told):
        take(tree, stored(name, Shaped))


def test_counted_layers_are_known_by_their_order_alone():
    names = ["block1_conv1", "conv2d_10", "conv2d_9", "batch_normalization", "convolution2d_11"]
    assert without_counters(names) == {
        "block1_conv1": "block1_conv1",
        "conv2d#0": "conv2d_9",
        "conv2d#1": "conv2d_10",
        "conv2d#2": "convolution2d_11",
        "batch_normalization#0": "batch_normalization",
    }
