"""The classifier's first biases, against values worked out by hand."""

import math

import numpy as np
import pytest

from manylabel.trainer.networks.build import build_model, set_head_biases
from manylabel.trainer.networks.config import XceptionConfig
from manylabel.trainer.networks.head_bias import initial_biases
from manylabel.trainer.networks.head_config import HeadBias
from manylabel.trainer.networks.loss_config import LossKind

# Of 4 training images: one class on 3, one on 1, one on none, one on all.
COUNTS = np.array([3, 1, 0, 4])
IMAGES = 4


@pytest.mark.parametrize(
    ("setting", "kind", "expected"),
    [
        # (n + .5) / (4 - n + .5): 3.5/1.5, 1.5/3.5, .5/4.5, 4.5/.5.
        ("prior", "sigmoid", [math.log(7 / 3), math.log(3 / 7), -math.log(9), math.log(9)]),
        # (n + .5) / (3.5 + 1.5 + .5 + 4.5 = 10).
        ("prior", "softmax", [math.log(0.35), math.log(0.15), math.log(0.05), math.log(0.45)]),
        ("zero", "sigmoid", [0, 0, 0, 0]),
        ("zero", "softmax", [0, 0, 0, 0]),
        (-10, "sigmoid", [-10, -10, -10, -10]),
        ("1.5", "softmax", [1.5, 1.5, 1.5, 1.5]),
    ],
)
def test_where_the_biases_begin(setting, kind, expected):
    start = XceptionConfig(head_bias=setting).head_bias
    biases = initial_biases(start, LossKind(kind), COUNTS, IMAGES - COUNTS)
    assert biases.dtype == np.float32
    np.testing.assert_allclose(biases, expected, rtol=1e-6)


def test_the_softmax_prior_gives_each_class_its_share():
    biases = initial_biases(HeadBias.PRIOR, LossKind.SOFTMAX, COUNTS, IMAGES - COUNTS)
    assert np.exp(biases.astype(np.float64)).sum() == pytest.approx(1)


def test_the_prior_of_a_large_dataset_is_finite():
    """JFT's size, where one image more or less is nothing in float32."""
    counts = np.array([0, 1, 350_000_000])
    biases = initial_biases(HeadBias.PRIOR, LossKind.SIGMOID, counts, counts[-1] - counts)
    # log(.5 / 3.5e8) = -(log 7 + 8 log 10)
    assert biases[0] == pytest.approx(-(math.log(7) + 8 * math.log(10)))
    assert biases[1] - biases[0] == pytest.approx(math.log(3), rel=1e-5)
    assert biases[2] == -biases[0]


def test_absences_may_be_fewer_than_the_other_images():
    present, absent = np.array([2, 0, 5]), np.array([7, 0, 0])
    biases = initial_biases(HeadBias.PRIOR, LossKind.SIGMOID, present, absent)
    np.testing.assert_allclose(biases, [math.log(2.5 / 7.5), 0, math.log(11)], rtol=1e-6)


def test_prior_is_the_default():
    assert XceptionConfig().head_bias is HeadBias.PRIOR


@pytest.mark.parametrize("setting", ["prior", "zero", -4.5])
def test_the_setting_reads_back_from_json(setting):
    config = XceptionConfig(head_bias=setting)
    assert XceptionConfig.model_validate_json(config.model_dump_json()) == config


@pytest.mark.parametrize(
    "setting",
    ["priro", "Prior", "", None, True, False, math.nan, math.inf, "-inf", -100.1, 1e39, [1], {}],
)
def test_anything_else_is_one_problem_that_says_what_was_expected(setting):
    with pytest.raises(ValueError, match="expected prior, zero or a number from -100 to 100, rec"):
        XceptionConfig(head_bias=setting)
    with pytest.raises(ValueError, match="1 validation error"):
        XceptionConfig(head_bias=setting)


def test_only_the_classifier_is_set():
    config = XceptionConfig(input_size=32, width=0.125, middle_repeats=0, fully_connected=(8,))
    model = build_model(config, 4)
    before = {variable.path: variable.numpy() for variable in model.weights}
    set_head_biases(model, np.array([1, 2, 3, 4], np.float32))
    changed = {
        variable.path
        for variable in model.weights
        if (variable.numpy() != before[variable.path]).any()
    }
    assert changed == {model.get_layer("predictions").bias.path}
    assert model.get_layer("predictions").bias.numpy().tolist() == [1, 2, 3, 4]
