"""Claim: a shard's fused update takes at most 1.3 times as long as a loop without blocks.

RMSprop and SGD with momentum over full Xception's parameters (1,000 classes) in its own blocks of
L2 coefficients, on all cores. Peer: the same arithmetic in the plainest loop over the same vectors,
each core with one range of them and one coefficient for all, compiled in the same run. They are
measured in turn; the figure is the ratio of the medians. Ends with 1 when the claim does not hold.

    python benchmarks/apply_pass.py [--rounds 15]

For scale, the time in which the same cores read and write as many bytes and compute next to
nothing.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numba
import numpy as np

from manylabel.trainer.networks.build import build_model, decayed_variables
from manylabel.trainer.networks.config import XceptionConfig
from manylabel.trainer.plane.layout import ParameterLayout
from manylabel.trainer.plane.optimizers import SGD, DecayBlocks, RMSprop

CLASSES = 1000  # 22,855,952 parameters, the paper's number
L2 = np.float32(1e-5)
RATE = np.float32(0.001)
AVERAGE_DECAY = 0.9999
CLAIM = 1.3

_compiled = numba.njit(parallel=True, error_model="numpy", nogil=True)


@_compiled
def _flat_rmsprop(threads, weights, average, mean_square, buffer, gradient, settings):  # type: ignore[no-untyped-def]
    twice_l2, rate, rho, one_minus_rho, momentum, epsilon, one_minus_decay = settings
    share = -(-len(weights) // threads)
    for thread in numba.prange(threads):
        start = thread * share
        w, a = weights[start : start + share], average[start : start + share]
        s, b = mean_square[start : start + share], buffer[start : start + share]
        slopes = gradient[start : start + share]
        for i in range(len(w)):
            g = slopes[i] + twice_l2 * w[i]
            s[i] = rho * s[i] + one_minus_rho * (g * g)
            b[i] = momentum * b[i] + rate * g / np.sqrt(s[i] + epsilon)
            w[i] -= b[i]
            a[i] += one_minus_decay * (w[i] - a[i])


@_compiled
def _flat_sgd(threads, weights, average, buffer, gradient, settings):  # type: ignore[no-untyped-def]
    twice_l2, rate, momentum, one_minus_decay = settings
    share = -(-len(weights) // threads)
    for thread in numba.prange(threads):
        start = thread * share
        w, a = weights[start : start + share], average[start : start + share]
        b, slopes = buffer[start : start + share], gradient[start : start + share]
        for i in range(len(w)):
            g = slopes[i] + twice_l2 * w[i]
            b[i] = momentum * b[i] - rate * g
            w[i] += b[i]
            a[i] += one_minus_decay * (w[i] - a[i])


@_compiled
def _move(threads, first, second, third):  # type: ignore[no-untyped-def]
    share = -(-len(first) // threads)
    for thread in numba.prange(threads):
        start = thread * share
        a, b = first[start : start + share], second[start : start + share]
        c = third[start : start + share]
        for i in range(len(a)):
            a[i] = -a[i]
            b[i] = -b[i]
            c[i] = -c[i]


def passes(
    optimizer: RMSprop | SGD, blocks: DecayBlocks, size: int
) -> tuple[Callable[[], None], Callable[[], None], int]:
    """The product's update and the peer's, each of vectors of its own; bytes that one moves."""
    random = np.random.default_rng(0)
    gradient, *values = (random.standard_normal(size, np.float32) for _ in range(3))
    weights, average = (value.copy() for value in values)
    slots, flat_slots = optimizer.new_slots(size), optimizer.new_slots(size)
    flat: Any
    if isinstance(optimizer, RMSprop):
        flat, moments = _flat_rmsprop, (optimizer.rho, 1 - optimizer.rho, optimizer.momentum)
        constants: tuple[float, ...] = (*moments, optimizer.epsilon, 1 - AVERAGE_DECAY)
    else:
        flat, constants = _flat_sgd, (optimizer.momentum, 1 - AVERAGE_DECAY)
    settings = (2 * L2, RATE, *map(np.float32, constants))

    def update() -> None:
        optimizer.update(weights, average, slots, gradient, blocks, float(RATE), AVERAGE_DECAY)

    def flat_update() -> None:
        flat(numba.get_num_threads(), *values, *flat_slots.values(), gradient, settings)

    written = len(values) + len(slots)  # each is read too; the gradient is only read
    return update, flat_update, (2 * written + 1) * gradient.nbytes


def in_turn(sides: Sequence[Callable[[], None]], rounds: int) -> list[float]:
    """Milliseconds of each side, the median of rounds in which they take turns."""
    for side in sides:  # compiles, and touches every page
        side()
    times: list[list[float]] = [[] for _ in sides]
    for _ in range(rounds):
        for side, measured in zip(sides, times, strict=True):
            began = time.perf_counter()
            side()
            measured.append((time.perf_counter() - began) * 1000)
    return [statistics.median(measured) for measured in times]


def main() -> None:
    """Prints a line for each optimizer; ends with 1 when one is too slow."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    model = build_model(XceptionConfig(), CLASSES)
    layout = ParameterLayout.of(model, decayed_variables(model))
    size = layout.parameter_count
    blocks = DecayBlocks(size, layout.decayed_within(0, size), float(L2))
    vectors = [np.ones(size, np.float32) for _ in range(3)]
    too_slow = []
    for optimizer in (RMSprop(), SGD()):
        update, flat, moved = passes(optimizer, blocks, size)
        move = partial(_move, numba.get_num_threads(), *vectors)
        own, peer, moving = in_turn((update, flat, move), rounds)
        floor = moving * moved / sum(2 * vector.nbytes for vector in vectors)
        print(
            f"{optimizer.name}, {size:,} parameters in {len(blocks.bounds):,} blocks, "
            f"{numba.get_num_threads()} threads: update {own:.1f} ms, flat loop {peer:.1f} ms, "
            f"moving as many bytes {floor:.1f} ms; ratio {own / peer:.2f}",
            flush=True,
        )
        if own / peer > CLAIM:
            too_slow.append(optimizer.name)
    if too_slow:
        sys.exit(f"expected at most {CLAIM} times the flat loop: {', '.join(too_slow)}")


if __name__ == "__main__":
    main()
