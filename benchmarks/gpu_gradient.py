"""Claim: in float32 a GPU's gradient is as near to the exact one as the CPU's, within twice its
distance, and with TensorFloat-32, which is TensorFlow's default there, within 50 times.

The exact one is computed in float64 on the CPU with the same weights and batch. The figure is
‖gradient - exact‖ / ‖exact‖ over all parameters, of the passes with and without XLA. It says as
much of the network as of the device: near its first weights a deep network with batch normalisation
magnifies rounding some ten thousand times. Of mixed_bfloat16 it is told, and nothing claimed.

    python benchmarks/gpu_gradient.py [--network inception_v3] [--batch 4]
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

if __name__ == "__main__":  # Beside the modules that it imports, wherever it is started from.
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks._gpu import CLASSES, a_batch, gpu_is_here
from manylabel.trainer.config import Precision, TrainerConfig

SHARDS = 2
NETWORKS: dict[str, dict[str, Any]] = {
    "xception": {"name": "xception", "input_size": 299, "batch_norm_momentum": 0.9},
    "inception_v3": {"name": "inception_v3", "input_size": 299, "batch_norm_momentum": 0.9},
    "vgg_separable": {"name": "vgg_separable", "input_size": 224, "batch_norm_momentum": 0.9},
    "resnet": {"name": "resnet", "input_size": 224, "batch_norm_momentum": 0.9},
}


class Side(NamedTuple):
    """One way to compute the gradient.

    Attributes:
        allowed: distance to the exact gradient, in distances of the CPU's float32 one. Of the 24
            bits of float32's fraction TensorFloat-32 keeps 11: at most 8,192 times farther.
    """

    precision: str
    gpu: bool = True
    tensor_float: bool = False
    xla: bool = False
    allowed: float | None = 2.0


EXACT = Side("float64", gpu=False)
SIDES = (
    Side("float32", gpu=False),
    Side("float32"),
    Side("float32", xla=True),
    Side("float32", tensor_float=True, allowed=50.0),
    Side("mixed_bfloat16", tensor_float=True, allowed=None),
    Side("mixed_bfloat16", tensor_float=True, xla=True, allowed=None),
)


def exact(network: str, batch: int, weights_file: Path) -> dict[str, Any]:
    """The gradient in float64 by a plain tape; draws the weights."""
    import keras
    import tensorflow as tf

    from manylabel.trainer.networks.build import build_model
    from manylabel.trainer.networks.losses import label_loss
    from manylabel.trainer.plane.layout import ParameterLayout

    config = TrainerConfig.model_validate({"model": NETWORKS[network]})
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    keras.utils.set_random_seed(1)
    model = build_model(config.model, CLASSES)
    layout = ParameterLayout.of(model)
    parameters, statistics = layout.read(model)
    np.savez(weights_file, parameters=parameters, statistics=statistics)
    layout.assign(model, parameters, statistics)  # As float32 holds them.
    images, labels = a_batch(batch, config.model.input_size)

    @tf.function
    def compute() -> tuple[tf.Tensor, list[tf.Tensor]]:
        with tf.GradientTape() as tape:
            loss = label_loss(
                model(tf.cast(images, tf.float64), training=True), labels, config.loss
            )
        return loss, tape.gradient(loss, [v.value for v in model.trainable_variables])

    loss, gradients = compute()
    whole = np.concatenate([gradient.numpy().ravel() for gradient in gradients])
    return {"parameters": whole, "loss": float(loss)}


def answer(network: str, batch: int, side: Side, weights_file: Path) -> dict[str, Any]:
    """The gradient as a worker computes it."""
    import tensorflow as tf

    from manylabel.trainer.networks.build import build_model
    from manylabel.trainer.networks.losses import label_loss
    from manylabel.trainer.networks.replica import ModelReplica
    from manylabel.trainer.plane.layout import ParameterLayout, cut
    from manylabel.trainer.program.device import configure_device

    tf.config.experimental.enable_tensor_float_32_execution(side.tensor_float)
    on_gpu = configure_device(len(os.sched_getaffinity(0)), Precision(side.precision))
    if on_gpu != side.gpu:
        raise SystemExit("expected a GPU, and for the CPU's sides none to be seen")
    config = TrainerConfig.model_validate({"model": NETWORKS[network]})
    model = build_model(config.model, CLASSES)
    replica = ModelReplica(
        model,
        ParameterLayout.of(model),
        partial(label_loss, config=config.loss),
        SHARDS,
        config.model.batch_norm_momentum,
        compiled_batch_size=batch if side.xla else None,
    )
    weights = np.load(weights_file)
    cuts = [
        [vector[start:stop] for start, stop in cut(len(vector), SHARDS)]
        for vector in (weights["parameters"], weights["statistics"])
    ]
    replica.load(list(zip(*cuts, strict=True)))
    began = time.monotonic()
    gradient = replica.gradient(*a_batch(batch, config.model.input_size))
    return {
        "parameters": np.concatenate(gradient.parameters),
        "loss": gradient.loss,
        "seconds": time.monotonic() - began,
    }


def distance(received: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    """Of two vectors, in lengths of the second."""
    received, expected = received.astype(np.float64), expected.astype(np.float64)
    return float(np.linalg.norm(received - expected) / np.linalg.norm(expected))


def _in_a_fresh_process(
    network: str, batch: int, side: Side, weights: Path, answers: Path
) -> dict[str, Any]:
    command = [sys.executable, __file__, "--network", network, "--batch", str(batch)]
    command += ["--weights", str(weights), "--answers", str(answers)]
    command += ["--side", str(SIDES.index(side) if side in SIDES else -1)]
    environment = {**os.environ, **({} if side.gpu else {"CUDA_VISIBLE_DEVICES": ""})}
    subprocess.run(command, check=True, env=environment)
    return dict(np.load(answers))


def compare(network: str, batch: int, folder: Path) -> bool:
    """Prints a line for each side; whether all are as near as claimed."""
    weights, answers = folder / "weights.npz", folder / "answers.npz"
    reference = _in_a_fresh_process(network, batch, EXACT, weights, answers)
    unit, within = 0.0, True
    for side in SIDES:
        ours = _in_a_fresh_process(network, batch, side, weights, answers)
        off = distance(ours["parameters"], reference["parameters"])
        unit = unit or off
        within &= side.allowed is None or off <= side.allowed * unit
        figures = {
            "off": off,
            "of_the_cpus": round(off / unit, 2),
            "loss_off": abs(float(ours["loss"] / reference["loss"]) - 1),
            "first_seconds": round(float(ours["seconds"]), 1),
        }
        print(json.dumps({"network": network, **side._asdict(), **figures}), flush=True)
    return within


def main() -> None:
    """Compares the network's sides; fails where one is farther off than claimed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--network", choices=NETWORKS, default="xception")
    parser.add_argument("--side", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--weights", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--answers", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    network, batch, weights = arguments.network, arguments.batch, arguments.weights
    if arguments.answers and arguments.side < 0:
        np.savez(arguments.answers, **exact(network, batch, weights))
    elif arguments.answers:
        np.savez(arguments.answers, **answer(network, batch, SIDES[arguments.side], weights))
    elif gpu_is_here():
        with tempfile.TemporaryDirectory() as folder:
            raise SystemExit(not compare(network, batch, Path(folder)))


if __name__ == "__main__":
    main()
