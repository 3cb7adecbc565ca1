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
