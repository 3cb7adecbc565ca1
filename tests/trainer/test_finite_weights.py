"""Weights that are no numbers are not predicted with, whatever the scores show."""

import numpy as np
import pytest

from manylabel.trainer import predict
from manylabel.trainer.errors import CheckpointError
from manylabel.trainer.plane.layout import ParameterLayout, VariableSlot
from manylabel.trainer.runs.checkpoint import CheckpointInfo, FlatWeights

LAYOUT = ParameterLayout(
    parameters=(
        VariableSlot(path="conv/kernel", shape=(4,), offset=0),
        VariableSlot(path="logits/kernel", shape=(2, 3), offset=4),
    ),
    statistics=(VariableSlot(path="norm/moving_variance", shape=(4,), offset=0),),
)


@pytest.mark.parametrize(
    ("places", "value", "told"),
    [
        ({"parameters": [9]}, np.nan, "received nan in logits/kernel, and 1 in all"),
        ({"parameters": [0, 4]}, -np.inf, "received -inf in conv/kernel, and 2 in all"),
        ({"statistics": [3]}, np.inf, "received inf in norm/moving_variance, and 1 in all"),
    ],
)
def test_weights_that_are_no_numbers_are_named(places, value, told, monkeypatch, tmp_path):
    """Of one class alone, or of a statistic that hides the feature that it divides."""
    vectors = {"parameters": np.ones(10, np.float32), "statistics": np.ones(4, np.float32)}
    for kind, where in places.items():
        vectors[kind][where] = value
    monkeypatch.setattr(
        predict, "load_weights", lambda checkpoint, averaged: FlatWeights(LAYOUT, **vectors)
    )
    checkpoint = CheckpointInfo(7, 7, tmp_path / "00000007", "digest", "digest of the dataset")
    message = f"00000007: expected finite weights, {told}: .*--step"
    with pytest.raises(CheckpointError, match=message):
        predict.load_checkpoint(None, checkpoint, averaged=True)
