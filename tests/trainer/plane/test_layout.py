"""The flat layout: ranges that cover, fragments without gaps, weights that come back the same."""

from itertools import pairwise

import keras
import numpy as np
import pytest
from keras import layers

from manylabel.trainer.plane.layout import ALIGNMENT, ParameterLayout, VariableSlot, cut, fragments


def small_model(units=5):
    return keras.Sequential(
        [
            layers.Input((8, 8, 3)),
            layers.Conv2D(4, 3, use_bias=False, name="conv"),
            layers.BatchNormalization(name="norm"),
            layers.Flatten(),
            layers.Dropout(0.5),  # its seed is a variable, but no weight
            layers.Dense(units, name="dense"),
        ]
    )


@pytest.fixture(scope="module")
def model():
    return small_model()


@pytest.mark.parametrize("shards", range(1, 9))
@pytest.mark.parametrize("count", [0, 1, 15, 16, 17, 100, 1000, 4099, 22_855_952, 93_000_001])
def test_cuts_cover_aligned_and_nearly_equal(count, shards):
    ranges = cut(count, shards)
    assert len(ranges) == shards
    assert ranges[0][0] == 0
    assert ranges[-1][1] == count
    for (_, stop), (start, _) in pairwise(ranges):
        assert stop == start
        assert start % ALIGNMENT == 0 or start == count
    sizes = [stop - start for start, stop in ranges]
    assert min(sizes) >= 0
    assert max(sizes) - min(sizes) <= 2 * ALIGNMENT


@pytest.mark.parametrize("shards", range(1, 9))
@pytest.mark.parametrize("sizes", [[20], [1, 1, 1], [5, 40, 3, 1, 1, 60], [16, 16, 16], [200, 2]])
def test_fragments_tile_every_shard(sizes, shards):
    edges = np.concatenate([[0], np.cumsum(sizes)])
    slots = [
        VariableSlot(path=str(i), shape=(size,), offset=int(edges[i]))
        for i, size in enumerate(sizes)
    ]
    owner = np.repeat(np.arange(len(sizes)), sizes)
    for start, stop in cut(sum(sizes), shards):
        tiled: list[int] = []
        for part in fragments(slots, start, stop):
            assert part.start == len(tiled)
            tiled += [part.variable] * (part.stop - part.start)
        assert tiled == owner[start:stop].tolist()


def test_the_layout_holds_every_weight_in_the_models_order(model):
    layout = ParameterLayout.of(model)
    for slots, variables in (
        (layout.parameters, model.trainable_variables),
        (layout.statistics, model.non_trainable_weights),
    ):
        assert [slot.path for slot in slots] == [variable.path for variable in variables]
        assert [slot.shape for slot in slots] == [tuple(v.shape) for v in variables]
    assert layout.parameter_count == 3 * 3 * 3 * 4 + 2 * 4 + 6 * 6 * 4 * 5 + 5
    assert layout.statistics_count == 2 * 4


def test_read_and_assign_carry_the_weights_to_another_model(model):
    layout, other = ParameterLayout.of(model), small_model()
    for variable in model.weights:
        variable.assign(np.random.default_rng(1).random(variable.shape, np.float32))
    parameters, statistics = layout.read(model)
    flat = np.concatenate([np.ravel(variable) for variable in model.trainable_variables])
    np.testing.assert_array_equal(parameters, flat)
    layout.assign(other, parameters, statistics)
    for mine, its in zip(model.weights, other.weights, strict=True):
        np.testing.assert_array_equal(mine, its)
    images = np.random.default_rng(2).random((3, 8, 8, 3), np.float32)
    np.testing.assert_array_equal(model(images, training=False), other(images, training=False))


def test_weights_of_another_model_are_refused_and_change_nothing(model):
    layout, other = ParameterLayout.of(model), small_model(units=6)
    before = [variable.numpy() for variable in other.weights]
    with pytest.raises(ValueError, match="of another model: expected 5 variables with"):
        layout.assign(other, *layout.read(model))
    for variable, value in zip(other.weights, before, strict=True):
        np.testing.assert_array_equal(variable, value)


@pytest.mark.parametrize("short", [0, 1])
def test_vectors_of_another_length_are_refused_and_change_nothing(model, short):
    layout = ParameterLayout.of(model)
    vectors = list(layout.read(model))
    before = [variable.numpy() for variable in model.weights]
    vectors[1 - short] = vectors[1 - short] + 1
    vectors[short] = vectors[short][:-1]
    with pytest.raises(ValueError, match="a vector of"):
        layout.assign(model, *vectors)
    for variable, value in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(variable, value)


def test_a_model_without_statistics_has_an_empty_vector():
    model = keras.Sequential([layers.Input((3,)), layers.Dense(2)])
    layout = ParameterLayout.of(model)
    parameters, statistics = layout.read(model)
    assert statistics.shape == (0,)
    layout.assign(model, parameters * 2, statistics)
    np.testing.assert_array_equal(layout.read(model)[0], parameters * 2)


def test_decayed_intervals_are_those_of_the_named_variables(model):
    conv, dense = model.get_layer("conv").kernel.path, model.get_layer("dense").kernel.path
    layout = ParameterLayout.of(model, {conv, dense})
    count = layout.parameter_count
    assert layout.decayed_within(0, count) == [(0, 108), (116, 836)]
    assert layout.decayed_within(100, 120) == [(0, 8), (16, 20)]
    assert layout.decayed_within(108, 116) == []
    assert ParameterLayout.of(model).decayed_within(0, count) == []


def test_depthwise_kernels_have_a_coefficient_of_their_own(model):
    conv, dense = model.get_layer("conv").kernel.path, model.get_layer("dense").kernel.path
    layout = ParameterLayout.of(model, {conv, dense}, {conv})
    count = layout.parameter_count
    assert layout.l2_within(0, count, 0.5, 0.25) == [0.25, 0.5]
    assert layout.l2_within(0, count, 0.5, 0.0) == [0.0, 0.5]
    assert layout.l2_within(0, count, 0.5, None) == [0.5, 0.5]
    assert layout.l2_within(110, 120, 0.5, 0.25) == [0.5]
    assert layout.l2_within(108, 116, 0.5, 0.25) == []
    assert ParameterLayout.model_validate_json(layout.model_dump_json()) == layout


def test_layouts_from_before_depthwise_kernels_were_marked_know_them_by_name():
    slots = [
        {"path": "block5_sepconv1_depthwise/kernel", "shape": [3], "offset": 0, "decayed": True},
        {"path": "block5_sepconv1_pointwise/kernel", "shape": [4], "offset": 3, "decayed": True},
    ]
    layout = ParameterLayout.model_validate({"parameters": slots, "statistics": []})
    assert layout.l2_within(0, 7, 0.5, 0.25) == [0.25, 0.5]


def test_an_unknown_decayed_variable_is_an_error(model):
    with pytest.raises(ValueError, match="conv9/kernel"):
        ParameterLayout.of(model, {"conv9/kernel"})


@pytest.mark.parametrize("offsets", [(1, 4), (0, 3), (0, 5)])
def test_variables_with_gaps_or_in_each_other_are_refused(offsets):
    slots = [VariableSlot(path=str(at), shape=(2, 2), offset=at) for at in offsets]
    with pytest.raises(ValueError, match="variables that follow each other"):
        ParameterLayout(parameters=slots, statistics=())


def test_the_layout_survives_json(model):
    layout = ParameterLayout.of(model, {model.get_layer("conv").kernel.path})
    assert ParameterLayout.model_validate_json(layout.model_dump_json()) == layout
