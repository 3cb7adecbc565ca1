"""Parameters, multiply-adds and features of every network, exactly."""

import keras
import pytest
from pydantic import TypeAdapter

from manylabel.trainer.networks.build import build_model
from manylabel.trainer.networks.config import ModelConfig, XceptionConfig
from manylabel.trainer.networks.figures import network_figures

pytestmark = pytest.mark.slow

ADAPTER = TypeAdapter(ModelConfig)

# Settings; trainable, all, with 1,000 classes; trainable with 17,000; features; 10^9 multiply-adds.
# Built in Keras from the papers by hand, or keras.applications' own.
FIGURES = [
    ({}, 22_855_952, 22_910_480, 55_639_952, 2048, 8.4),
    ({"name": "inception_v3"}, 23_817_352, 23_851_784, 56_601_352, 2048, 5.7),
    (
        {"name": "inception_v3", "variant": 2016},
        23_626_728,
        23_660_968,
        56_410_728,
        2048,
        5.6,
    ),
    ({"name": "vgg16"}, 138_357_544, 138_357_544, 203_909_544, 4096, 15.5),
    ({"name": "resnet", "bias": True}, 60_268_520, 60_419_944, 93_052_520, 2048, 11.3),
    ({"name": "resnet"}, 60_192_808, 60_344_232, 92_976_808, 2048, 11.3),
    ({"name": "vgg_separable"}, 23_866_947, 23_893_827, 56_650_947, 2048, 4.4),
    (
        {"name": "vgg_separable", "stem_stride": 1},
        23_866_947,
        23_893_827,
        56_650_947,
        2048,
        18.3,
    ),
    ({"segments": 4}, 62_890_616, 62_945_144, 95_674_616, 2048, 24.0),
]


def figures(tree, classes):
    return network_figures(ADAPTER.validate_python(tree), classes)


@pytest.mark.parametrize(
    ("tree", "trainable", "total", "of_17_000", "features", "billions"),
    FIGURES,
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_networks_have_the_published_sizes(tree, trainable, total, of_17_000, features, billions):
    received = figures(tree, 1000)
    assert (received.trainable, received.total) == (trainable, total)
    assert received.features == features
    assert received.multiply_adds / 1e9 == pytest.approx(billions, abs=0.05)
    more = figures(tree, 17_000)
    assert (more.trainable, more.total - total) == (of_17_000, of_17_000 - trainable)
    assert of_17_000 - trainable == 16_000 * (features + 1)


@pytest.mark.parametrize(
    ("segments", "trainable"),
    [
        (1, 183_616_904),
        (2, 103_132_712),
        (3, 76_304_846),
        (8, 42_769_568),
        (16, 32_710_016),
        (91, 24_418_460),
    ],
)
def test_the_spectrum_of_segments_at_equal_width(segments, trainable):
    assert figures({"segments": segments}, 1000).trainable == trainable


@pytest.mark.parametrize(
    ("segments", "width"),
    [(1, 0.350), (2, 0.465), (3, 0.541), (4, 0.596), (8, 0.725), (16, 0.830), (91, 0.966)],
)
def test_the_spectrum_of_segments_at_equal_parameters(segments, width):
    """Within 1.3%: widths round to multiples of 8 channels."""
    received = figures({"segments": segments, "width": width}, 1000)
    assert received.trainable == pytest.approx(22_855_952, rel=0.013)
    assert 8.3e9 < received.multiply_adds < 8.9e9


@pytest.mark.parametrize(
    ("tree", "trainable"),
    [
        ({}, 3_118_469),
        ({"name": "inception_v3", "variant": 2016}, 3_221_717),
        ({"name": "vgg_separable"}, 3_243_888),
    ],
    ids=str,
)
def test_at_three_eighths_of_the_width_networks_are_alike(tree, trainable):
    assert figures({**tree, "width": 0.375}, 189).trainable == trainable


def test_counting_makes_no_weights():
    """And gives what a built network has."""
    config = XceptionConfig(input_size=32, width=0.125, middle_repeats=1, fully_connected=(8,))
    received = network_figures(config, 10)
    with keras.StatelessScope(initialize_variables=False):
        assert build_model(config, 10).weights[0]._value is None
    model = build_model(config, 10)
    assert (received.total, received.features) == (model.count_params(), 8)
