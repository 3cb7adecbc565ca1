"""Which settings are warned of, and with which datasets."""

import numpy as np
import pytest

from manylabel.trainer.config import TrainerConfig
from manylabel.trainer.recipe_warnings import recipe_warnings

MANY = np.full(17_000, 20_000)
FEW = np.where(np.arange(17_000) < 8_499, 100, 99)  # one label more is below 100 than above
RARE, UNLEARNT = "8,501 of 17,000 labels have fewer", "nothing is learnt"


def warnings(counts, optimizer=None, **loss):
    tree = {"loss": loss} | ({} if optimizer is None else {"optimizer": optimizer})
    return recipe_warnings(TrainerConfig.model_validate(tree), counts)


@pytest.mark.parametrize(
    ("counts", "optimizer", "loss", "expected"),
    [
        (MANY, None, {}, []),
        (MANY, None, {"class_reduction": "mean"}, [UNLEARNT]),
        (MANY, {"epsilon": 0.01}, {"class_reduction": "mean"}, [UNLEARNT]),
        (MANY, {"epsilon": 0.0099}, {"class_reduction": "mean"}, []),
        # A mean over the few classes that are known is no small number.
        (MANY, None, {"class_reduction": "mean", "unknown": "ignore"}, []),
        (FEW, None, {}, [RARE]),
        (FEW, None, {"kind": "softmax"}, [RARE]),
        (FEW, None, {"class_reduction": "mean"}, [UNLEARNT, RARE]),
        (FEW[1:], None, {}, ["8,501 of 16,999"]),
        (FEW[:-2], None, {}, []),
        (FEW, {"epsilon": 0.001}, {"class_reduction": "mean"}, []),
        (FEW, {"name": "sgd"}, {"class_reduction": "mean"}, []),
    ],
)
def test_what_is_warned_of(counts, optimizer, loss, expected):
    if optimizer is not None:
        optimizer = {"name": "rmsprop"} | optimizer
    received = warnings(counts, optimizer, **loss)
    assert len(received) == len(expected)
    for line, part in zip(received, expected, strict=True):
        assert part in line
        assert line.startswith("trainer.optimizer.epsilon is ")
        assert "\n" not in line


@pytest.mark.parametrize(
    ("model", "l2", "expected"),
    [
        ({}, None, ()),
        ({}, 1e-5, ()),
        ({}, 4e-5, ("inception_v3", "for xception set it to 1e-05")),
        ({"name": "inception_v3"}, None, ()),
        ({"name": "inception_v3"}, 1e-5, ("xception", "for inception_v3 set it to 4e-05")),
        ({"name": "inception_v3"}, 2e-5, ()),  # nobody's: chosen
        ({"name": "resnet"}, 1e-5, ("xception", "for resnet set it to 5e-05")),
        ({"name": "vgg_separable"}, 1e-5, ()),  # Xception's is its own
        ({"name": "vgg_separable"}, 0, ()),
        ({"name": "keras_applications", "backbone": "ResNet50"}, 5e-5, ()),
    ],
)
def test_an_l2_that_belongs_to_another_network_is_warned_of(model, l2, expected):
    config = TrainerConfig.model_validate({"model": model} | ({} if l2 is None else {"l2": l2}))
    received = recipe_warnings(config, MANY)
    assert len(received) == bool(expected)
    for part in expected:
        assert part in received[0]


@pytest.mark.parametrize(
    ("backbone", "l2", "warned"),
    [
        ("MobileNetV3Small", {}, True),
        ("MobileNet", {"l2": 4e-5}, True),
        ("MobileNet", {"l2_depthwise": 0}, False),
        ("MobileNet", {"l2_depthwise": 1e-6}, False),
        ("MobileNetV2", {"l2": 0}, False),
        ("EfficientNetV2B0", {}, False),
    ],
)
def test_decay_of_a_mobilenets_depthwise_kernels_is_warned_of(backbone, l2, warned):
    tree = {"model": {"name": "keras_applications", "backbone": backbone}} | l2
    received = recipe_warnings(TrainerConfig.model_validate(tree), MANY)
    assert [backbone in line and "l2_depthwise to 0" in line for line in received] == [
        True
    ] * warned


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ({"name": "vgg16"}, ("is symmetric", "VGG16 expects input_scale=caffe where the file")),
        ({"name": "vgg16", "initial_weights": "s3://weights/x.weights.h5"}, ("s3://weights/x",)),
        ({"name": "vgg16", "input_scale": "caffe"}, ()),
        ({"name": "vgg16", "initial_weights": None}, ()),
        ({"name": "vgg16", "initial_weights": "runs/first"}, ()),  # compared when it is read
        ({"name": "resnet", "input_scale": "torch"}, ("is torch", "ResNet152 expects", "=caffe")),
        ({"name": "resnet", "blocks": [1, 1, 1, 1]}, ()),  # nobody else's
        ({"name": "xception"}, ()),
        ({"name": "keras_applications", "backbone": "ResNet50"}, ()),  # scales by itself
    ],
)
def test_a_file_that_may_have_learnt_from_another_scale_is_warned_of(model, expected):
    tree = {"model": {"initial_weights": "x.keras"} | model}
    received = recipe_warnings(TrainerConfig.model_validate(tree), MANY)
    assert len(received) == bool(expected)
    for part in expected:
        assert part in received[0]
