"""ResNet against keras.applications."""

import keras
import pytest

from manylabel.trainer.networks.build import build_model
from manylabel.trainer.networks.config import ResNetConfig

pytestmark = pytest.mark.slow


def build(classes=10, **fields):
    return build_model(ResNetConfig(name="resnet", **fields), classes)


def test_outputs_of_152_layers_equal_keras_applications(randomise, noise, equal_outputs):
    """At 64 pixels: the layers are the same at each size."""
    reference = keras.applications.ResNet152(
        weights=None, input_shape=(64, 64, 3), classes=10, classifier_activation=None
    )
    randomise(reference)
    for layer in reference.layers:  # 50 blocks that add to their inputs would add up to thousands.
        if layer.name.endswith("_3_bn"):
            layer.gamma.assign(layer.gamma / 4)
    ours = build(input_size=64, bias=True)
    equal_outputs(ours, reference, noise(8, 64))


def test_names_are_those_of_keras_applications():
    with keras.StatelessScope(initialize_variables=False):
        reference = keras.applications.ResNet50(weights=None)
        ours = build(classes=1000, blocks=(3, 4, 6, 3), bias=True)
    expected = [(layer.name, [w.shape for w in layer.weights]) for layer in reference.layers[1:]]
    assert [(x.name, [w.shape for w in x.weights]) for x in ours.layers[1:]] == expected


def test_without_biases_only_they_are_missing():
    with keras.StatelessScope(initialize_variables=False):
        models = [build(bias=bias, blocks=(1, 1, 1, 1)) for bias in (False, True)]
    shapes = [
        [(w.path.partition("/")[0], tuple(w.shape)) for w in model.weights] for model in models
    ]
    biases = [
        (w.path.partition("/")[0], tuple(w.shape))
        for w in models[1].weights
        if w.path.endswith("conv/bias")
    ]
    assert len(biases) == 1 + 4 * 4
    assert sorted(shapes[0] + biases) == sorted(shapes[1])


def test_the_stride_is_in_a_stages_first_convolution():
    with keras.StatelessScope(initialize_variables=False):
        model = build(blocks=(2, 2, 2, 2), input_size=224)
    strided = {x.name for x in model.layers if getattr(x, "strides", (1, 1)) == (2, 2)}
    assert strided == {"conv1_conv", "pool1_pool"} | {
        f"conv{stage}_block1_{part}_conv" for stage in (3, 4, 5) for part in (0, 1)
    }
    names = [f"conv{stage}_block2_out" for stage in (2, 3, 4, 5)]
    assert [model.get_layer(name).output.shape[1] for name in names] == [56, 28, 14, 7]
