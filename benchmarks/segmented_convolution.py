"""Claim: on CPUs both passes of a convolution over 16 segments of 256 channels take at most a tenth
of the time of Keras' Conv2D(groups=16).

Maps of 12 x 12 places, a batch of 32, float32. They are measured in turn, several times; the figure
is the ratio of the medians. That values and gradients are equal is for
tests/trainer/networks/test_segments.py to say.

    python benchmarks/segmented_convolution.py [--rounds 5]
"""

import argparse
import statistics
import time
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from manylabel.trainer.networks.segments import SegmentedConv2D

CHANNELS, SEGMENTS, SIDE, BATCH = 256, 16, 12, 32


def both_passes(layer: keras.layers.Layer, inputs: tf.Tensor) -> Callable[[], list[tf.Tensor]]:
    """A function that computes the gradients by the inputs and the kernel."""
    layer.build(inputs.shape)

    @tf.function
    def passes() -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            total = tf.reduce_sum(layer(inputs) ** 2)
        gradients: list[tf.Tensor] = tape.gradient(total, [inputs, layer.kernel.value])
        return gradients

    return passes


def seconds(work: Callable[[], list[tf.Tensor]]) -> float:
    """Of one call."""
    start = time.perf_counter()
    for gradient in work():
        gradient.numpy()
    return time.perf_counter() - start


def main() -> None:
    """Prints the figure, and exits with 1 if the claim does not hold."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    random = np.random.default_rng(0)
    shape = (BATCH, SIDE, SIDE, CHANNELS)
    with tf.device("/CPU:0"):
        inputs = tf.constant(random.normal(size=shape).astype(np.float32))
        groups = keras.layers.Conv2D(CHANNELS, 3, padding="same", groups=SEGMENTS, use_bias=False)
        sides = {
            "segments": both_passes(SegmentedConv2D(SEGMENTS), inputs),
            "Keras' groups": both_passes(groups, inputs),
        }
        for work in sides.values():
            work()  # traces and compiles
        taken: dict[str, list[float]] = {name: [] for name in sides}
        for _ in range(rounds):
            for name, work in sides.items():
                taken[name].append(seconds(work))
    ours, theirs = (statistics.median(each) for each in taken.values())
    print(f"segments {ours:.3f} s, Keras' groups {theirs:.3f} s: {theirs / ours:.0f} times faster")
    if theirs < 10 * ours:
        raise SystemExit("the claim does not hold")


if __name__ == "__main__":
    main()
