"""Networks of keras.applications between our input and our head."""

import keras
import numpy as np
import pytest

from manylabel.trainer.networks.backbone_config import KerasApplicationsConfig, family
from manylabel.trainer.networks.build import (
    all_layers,
    build_model,
    decayed_variables,
    depthwise_variables,
)
from manylabel.trainer.networks.layers import rescaled

pytestmark = pytest.mark.slow

# The smallest of each family that builds in few seconds.
SMALLEST = ["MobileNet", "MobileNetV2", "MobileNetV3Small", "EfficientNetV2B0", "ResNet50V2"]


def build(backbone, **fields):
    return build_model(
        KerasApplicationsConfig(name="keras_applications", backbone=backbone, **fields), 10
    )


def momenta(model):
    return {
        layer.momentum
        for layer in all_layers(model)
        if isinstance(layer, keras.layers.BatchNormalization)
    }


@pytest.mark.parametrize(
    ("backbone", "mode"), [("MobileNetV3Small", None), ("ResNet50", "caffe"), ("MobileNet", "tf")]
)
def test_features_equal_keras_applications_fed_by_its_own_rule(
    backbone, mode, randomise, noise, equal_outputs
):
    """`mode` None: the network scales [0, 255] itself."""
    trunk = getattr(keras.applications, backbone)(
        weights=None, include_top=False, pooling="avg", input_shape=(64, 64, 3)
    )
    reference = keras.Model(trunk.input, keras.layers.Dense(10)(trunk.output))
    randomise(reference)
    images = noise(8, 64)
    fed = np.asarray(rescaled(images, family(backbone).input_scale))
    expected = (images + 1) * 127.5
    if mode is not None:
        expected = keras.applications.imagenet_utils.preprocess_input(expected, mode=mode)
    np.testing.assert_allclose(fed, expected, rtol=0, atol=1e-4)
    # Of the very same numbers: what rounds otherwise on the way in grows in fifty layers.
    equal_outputs(build(backbone, input_size=64), reference, images, fed, rtol=1e-5)


@pytest.mark.parametrize("backbone", SMALLEST)
def test_all_its_batch_normalisation_has_one_momentum(backbone):
    with keras.StatelessScope(initialize_variables=False):
        theirs = getattr(keras.applications, backbone)(weights=None, include_top=False)
        own, told = build(backbone), build(backbone, batch_norm_momentum=0.5)
    assert momenta(theirs) == momenta(own) == {family(backbone).batch_norm_momentum}
    assert momenta(told) == {0.5}


def test_a_network_without_batch_normalisation_has_no_statistics():
    with keras.StatelessScope(initialize_variables=False):
        model = build("ConvNeXtTiny", input_size=32)
    assert model.non_trainable_weights == []
    assert momenta(model) == set()


def test_l2_finds_the_kernels_of_models_within_and_the_depthwise_ones():
    """ConvNeXt's stem and its steps between stages are models of their own."""
    with keras.StatelessScope(initialize_variables=False):
        model = build("ConvNeXtTiny", input_size=32)
    kernels = {v.path for v in model.trainable_variables if v.path.endswith("/kernel")}
    assert decayed_variables(model) == kernels
    assert len(kernels) == 4 + 18 * 3 + 1  # Stem and steps, 18 blocks of three, the classifier.
    depthwise = {path for path in kernels if "depthwise_conv" in path}
    assert depthwise_variables(model) == depthwise
    assert len(depthwise) == 18


def test_l2_finds_both_kernels_of_separable_convolutions():
    inputs = keras.Input((8, 8, 4))
    inner = keras.Sequential([keras.Input((8, 8, 4)), keras.layers.SeparableConv2D(6, 3)])
    x = keras.layers.Conv2D(8, 3, groups=2)(inner(inputs))
    model = keras.Model(inputs, keras.layers.DepthwiseConv2D(3)(x))
    shapes = {v.path: tuple(v.shape) for v in model.trainable_variables}
    assert sorted(shapes[path] for path in decayed_variables(model)) == [
        (1, 1, 4, 6),
        (3, 3, 3, 8),
        (3, 3, 4, 1),
        (3, 3, 8, 1),
    ]
    assert sorted(shapes[path] for path in depthwise_variables(model)) == [
        (3, 3, 4, 1),
        (3, 3, 8, 1),
    ]


def test_statistics_are_as_many_as_batch_normalisation_has():
    """Nothing else may stand among them: shards let all of them decay."""
    with keras.StatelessScope(initialize_variables=False):
        models = [build(backbone) for backbone in ("MobileNetV3Small", "EfficientNetV2B0")]
    for model in models:
        names = {variable.path.rpartition("/")[2] for variable in model.non_trainable_weights}
        assert names == {"moving_mean", "moving_variance"}
        assert {np.dtype(variable.dtype) for variable in model.weights} == {np.dtype("float32")}
