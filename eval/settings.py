"""What tells evaluations of one checkpoint apart."""

import hashlib
import json

import numpy as np
from numpy.typing import NDArray

from manylabel.eval.config import EvalConfig, WeightKind

_DIGITS = 12
NO_RESULT = {"batch_size", "form", "keep_predictions"}
"""Keys of `eval` that change no result."""


def settings_key(config: EvalConfig, raw_weights: NDArray[np.float64]) -> str:
    """A name for settings, "uniform-1f0c…"; equal names mean equal results.

    Args:
        config: What changes no result does not count: the batch size, which form is the headline,
            how many predictions are kept, where a CSV lies.
        raw_weights: `weights.raw_weights` of it. Those of a CSV count by value: the same file name
            may hold other weights tomorrow. Those of other kinds follow from the dataset.
    """
    weights: dict[str, str] = {"kind": config.weights.kind}
    if config.weights.kind is WeightKind.CSV:
        weights["values"] = hashlib.sha256(raw_weights.astype("<f8").tobytes()).hexdigest()
    parts = config.model_dump(mode="json", exclude=NO_RESULT | {"weights"}) | {"weights": weights}
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
    return f"{config.weights.kind}-{digest[:_DIGITS]}"
