"""Stored weights find their places by name and shape, or are refused by name."""

from functools import cache

import keras
import numpy as np
import pytest

from manylabel.trainer.errors import InitialWeightsError
from manylabel.trainer.networks.build import build_model
from manylabel.trainer.networks.config import XceptionConfig
from manylabel.trainer.networks.initial_weights import take_weights

pytestmark = pytest.mark.slow

SMALL = {"input_size": 32, "width": 0.125, "middle_repeats": 1}


class Held:
    """An array that counts how often it is read."""

    def __init__(self, values):
        self.values, self.reads = np.asarray(values, np.float32), 0

    @property
    def shape(self):
        return self.values.shape

    def read(self):
        self.reads += 1
        return self.values


def stored_of(model):
    """Every layer's arrays by our names."""
    return {
        layer.name: [Held(value) for value in layer.get_weights()]
        for layer in model.layers
        if layer.weights
    }


def network(classes=10, seed=0, **fields):
    keras.utils.set_random_seed(seed)
    return build_model(XceptionConfig(**SMALL | fields), classes)


@cache
def other(**fields):
    """Another network's weights by our names; not to be changed."""
    return stored_of(network(seed=1, **fields))


def take(model, stored, **options):
    return take_weights(model, XceptionConfig(**SMALL), stored, "a.h5", **options)


@pytest.fixture(scope="module")
def small():
    """One to refuse weights for."""
    return network()


def test_everything_is_taken_where_everything_fits():
    ours = network()
    taken = take(ours, other())
    assert (taken.anew, taken.unused) == ((), ())
    assert taken.arrays.keys() == {variable.path for variable in ours.weights} != set()
    for layer in ours.layers:
        for now, there in zip(layer.get_weights(), other().get(layer.name, ()), strict=True):
            np.testing.assert_array_equal(now, there.values)


@pytest.mark.parametrize(
    ("theirs", "ours", "options", "anew"),
    [
        ({"classes": 7}, {}, {}, ["predictions"]),
        ({}, {}, {"same_classes": False}, ["predictions"]),
        # What reads a layer that begins anew begins anew.
        ({"fully_connected": (16, 8)}, {"fully_connected": (24, 8)}, {}, "all"),
        ({"fully_connected": (16, 8)}, {"fully_connected": (16, 12)}, {}, "second"),
        ({}, {"fully_connected": (16,)}, {}, ["fully_connected1", "predictions"]),
    ],
)
def test_the_head_is_taken_as_far_as_it_fits(theirs, ours, options, anew):
    stored, ours = other(**theirs), network(**ours)
    before = {layer.name: layer.get_weights() for layer in ours.layers}
    taken = take(ours, stored, **options)
    if isinstance(anew, str):
        anew = ["fully_connected1", "fully_connected2", "predictions"][anew == "second" :]
    assert list(taken.anew) == anew
    for layer in ours.layers:
        there = [array.values for array in stored.get(layer.name, ())]
        expected = before[layer.name] if layer.name in anew else there
        for now, value in zip(layer.get_weights(), expected, strict=True):
            np.testing.assert_array_equal(now, value)


def test_layers_of_another_head_are_left_and_named(small):
    stored = other() | {"dense_1": [Held(np.zeros((128, 5))), Held(np.zeros(5))], "flatten": []}
    taken = take(small, stored)
    assert taken.unused == ("dense_1",)
    assert stored["dense_1"][0].reads == 0


@pytest.mark.parametrize(
    ("theirs", "told"),
    [
        ({"width": 0.25}, "block1_conv2: expected 3×3×8×8, received 3×3×8×16"),
        (
            {"middle_repeats": 2},
            "block6_sepconv2_pointwise: expected 1×1×88×128, received 1×1×88×88",
        ),
        (
            {"middle_repeats": 0},
            "block5_sepconv2_pointwise: expected 1×1×88×88, received 1×1×88×128",
        ),
        ({"residual": False}, "the first block2_shortcut: expected 1×1×8×16, received none"),
        ({"depth_multiplier": 2}, "block2_sepconv1_depthwise: expected 3×3×8×1, received 3×3×8×2"),
    ],
)
def test_a_trunk_that_does_not_fit_is_refused_by_name(theirs, told, small):
    with pytest.raises(InitialWeightsError) as caught:
        take(small, other(**theirs))
    assert told in str(caught.value)
    assert str(caught.value).startswith("a.h5: expected the weights of this xception; ")
    assert "\n" not in str(caught.value)


def test_convolutions_that_find_no_place_are_refused_by_name():
    """Without its shortcuts a network would compute something else from the rest."""
    with pytest.raises(InitialWeightsError, match=r"no place for 4 .* first block2_shortcut \("):
        take(network(residual=False), other())


def test_another_network_is_refused_by_what_is_missing(small):
    with pytest.raises(InitialWeightsError, match=r"51 of its 51 layers .* received none"):
        take(small, {"dense": [Held(np.zeros((3, 3)))]})


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_refused(wrong, small):
    stored = other() | {"block4_sepconv2_bn": [Held(np.full(88, wrong)) for _ in range(4)]}
    with pytest.raises(InitialWeightsError, match="NaN or Inf in what is block4_sepconv2_bn/gamma"):
        take(small, stored)
