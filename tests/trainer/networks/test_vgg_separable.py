"""The VGG-like network of separable convolutions, layer by layer."""

from itertools import pairwise

import keras
import pytest

from manylabel.trainer.networks.build import build_model
from manylabel.trainer.networks.config import VGGSeparableConfig


def build(**fields):
    with keras.StatelessScope(initialize_variables=False):
        return build_model(VGGSeparableConfig(name="vgg_separable", **fields), 10)


def test_its_layers_are_vgg16s_with_separable_convolutions():
    """keras.applications' VGG-16 beside it: as many convolutions between as many poolings, the
    last being the global one here."""
    with keras.StatelessScope(initialize_variables=False):
        reference = keras.applications.VGG16(weights=None, include_top=False)
    kinds = {keras.layers.Conv2D: "conv", keras.layers.MaxPooling2D: "pool"}
    expected = [kinds[type(layer)] for layer in reference.layers if type(layer) in kinds]
    model = build()
    assert [kinds[type(layer)] for layer in model.layers if type(layer) in kinds] == expected[:-1]
    channels = [layer.filters for layer in model.layers if type(layer) is keras.layers.Conv2D]
    assert channels == [64] * 2 + [128] * 2 + [256] * 3 + [2048] * 6
    assert not any(layer.use_bias for layer in model.layers if hasattr(layer, "filters"))


def test_each_convolution_is_depthwise_pointwise_normalised_and_rectified():
    model = build()
    names = [x.name for x in model.layers if isinstance(x, keras.layers.DepthwiseConv2D)]
    assert len(names) == 13
    for name in names:
        step = name.removesuffix("_depthwise")
        chain = [model.get_layer(f"{step}_{part}") for part in ("depthwise", "pointwise", "bn")]
        chain.append(model.get_layer(f"{step}_act"))
        for earlier, later in pairwise(chain):
            assert later.input is earlier.output
        assert (chain[0].depth_multiplier, chain[0].kernel_size) == (1, (3, 3))


@pytest.mark.parametrize(
    ("stride", "sides"), [(2, [150, 75, 37, 18, 9]), (1, [299, 149, 74, 37, 18])]
)
def test_the_stems_stride_halves_every_map(stride, sides):
    model = build(stem_stride=stride)
    names = [f"block{stage}_sepconv1_act" for stage in range(1, 6)]
    assert [model.get_layer(name).output.shape[1] for name in names] == sides
