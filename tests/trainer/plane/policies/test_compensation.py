"""Compensation of staleness by its papers' formulas, in float64 and on shards."""

from typing import Any

import numba
import numpy as np
import pytest

from manylabel.trainer.plane.layout import cut
from manylabel.trainer.plane.optimizers import BLOCK_SIZE, SGD, DecayBlocks
from manylabel.trainer.plane.policies.compensation import (
    MEAN_SQUARE,
    DelayCompensation,
    InverseStaleness,
    NoCompensation,
)
from manylabel.trainer.plane.shard import ParameterShard, ShardState

N = BLOCK_SIZE + 37


@pytest.fixture(autouse=True)
def _one_thread():
    """Threads that wait for each other on busy cores make small updates slow."""
    before = numba.get_num_threads()
    numba.set_num_threads(1)
    yield
    numba.set_num_threads(before)


def test_the_rate_over_the_staleness_by_hand():
    factors = [InverseStaleness().rate_factor(staleness) for staleness in (0, 1, 2, 4, 50)]
    assert factors == [1, 1, 0.5, 0.25, 0.02]
    assert {NoCompensation().rate_factor(staleness) for staleness in range(60)} == {1.0}
    assert {DelayCompensation().rate_factor(staleness) for staleness in range(60)} == {1.0}


@pytest.mark.parametrize(
    ("compensation", "acting"),
    [(NoCompensation(), []), (InverseStaleness(), [2, 3]), (DelayCompensation(), [1, 2, 3])],
)
def test_when_it_makes_a_difference(compensation, acting):
    assert [staleness for staleness in range(4) if compensation.acts_on(staleness)] == acting


def run(compensation, gradients, pulled_at, *, scale=1.0, l2=0.0, shards=3):
    """Weights after stale gradients: gradient i was computed from the weights of `pulled_at[i]`."""
    start = np.linspace(-1, 1, N).astype(np.float32)
    parts = []
    for a, b in cut(N, shards):
        state = ShardState.initial(start[a:b], np.zeros(0, np.float32), SGD(momentum=0.0))
        state.slots |= compensation.new_slots(b - a)
        blocks = DecayBlocks(b - a, [(0, b - a)] if b > a else [], l2)
        shard = ParameterShard(state, SGD(momentum=0.0), blocks, 0.9, 0, compensation)
        versions = [start[a:b]]
        for number, gradient in enumerate(gradients):
            shard.stage(("w", number), gradient[a:b], np.zeros(0, np.float32))
            pulled = versions[pulled_at[number]], np.zeros(0, np.float32)
            shard.apply(("w", number), 0.1, 0.5, scale, pulled)
            versions.append(shard.weights(number + 1)[0].copy())
        parts.append(versions[-1])
    return np.concatenate(parts)


def by_the_paper(compensation, gradients, pulled_at, scale=1.0, l2=0.0):
    """Algorithm 1 of Zheng et al., in float64, with plain SGD."""
    versions = [np.linspace(-1, 1, N).astype(np.float32).astype(np.float64)]
    mean_square = np.zeros(N)
    for gradient, base in zip(gradients, pulled_at, strict=True):
        g, w = scale * gradient.astype(np.float64), versions[-1]
        strength = compensation.strength
        if compensation.adaptive:
            m = compensation.mean_square_decay
            mean_square = m * mean_square + (1 - m) * g**2
            strength = compensation.strength / np.sqrt(mean_square + compensation.epsilon)
        compensated = g + strength * g * g * (w - versions[base])
        versions.append(w - 0.1 * (compensated + 2 * l2 * w))
    return versions[-1]


GRADIENTS = [
    np.random.default_rng(number).standard_normal(N).astype(np.float32) for number in range(5)
]
PULLED_AT = [0, 0, 0, 2, 1]


@pytest.mark.parametrize(
    "compensation",
    [
        DelayCompensation(),
        DelayCompensation(strength=0.5, mean_square_decay=0.0, epsilon=1e-3),
        DelayCompensation(adaptive=False, strength=0.04),
    ],
)
@pytest.mark.parametrize(("scale", "l2"), [(1.0, 0.0), (0.25, 0.01)])
def test_delay_compensation_is_the_papers(compensation, scale, l2):
    ours = run(compensation, GRADIENTS, PULLED_AT, scale=scale, l2=l2)
    paper = by_the_paper(compensation, GRADIENTS, PULLED_AT, scale, l2)
    np.testing.assert_allclose(ours, paper, rtol=0, atol=2e-6)
    without = run(DelayCompensation(strength=0.0), GRADIENTS, PULLED_AT, scale=scale, l2=l2)
    assert np.abs(without - paper).max() > 1e-5, "it is seen"


@pytest.mark.parametrize("adaptive", [True, False])
def test_what_is_not_stale_is_not_changed_by_a_bit(adaptive):
    compensation = DelayCompensation(adaptive=adaptive)
    fresh = run(compensation, GRADIENTS, range(5))
    plain = run(DelayCompensation(strength=0.0), GRADIENTS, range(5))
    np.testing.assert_array_equal(fresh, plain)


def test_a_setting_of_its_changes_what_it_does():
    settings: list[dict[str, Any]] = [
        {},
        {"strength": 1.0},
        {"mean_square_decay": 0.5},
        {"epsilon": 1.0},
        {"adaptive": False},
    ]
    ends = [run(DelayCompensation(**each), GRADIENTS, PULLED_AT).tobytes() for each in settings]
    assert len(set(ends)) == len(settings)


def test_it_brings_a_stale_gradient_closer_to_the_one_of_now():
    """A logistic loss of one weight, whose squared gradient is in expectation its curvature."""
    random = np.random.default_rng(1)
    inputs = random.standard_normal((4000, N // 8)).astype(np.float32)
    true, pulled, now = (random.standard_normal(N // 8) * 0.3 for _ in range(3))
    now = pulled + 0.3 * (now - pulled)
    labels = random.random(inputs.shape) < 1 / (1 + np.exp(-inputs * true))

    def slopes(weights):
        return (1 / (1 + np.exp(-inputs * weights)) - labels) * inputs

    stale, current = slopes(pulled), slopes(now)
    compensated = stale + stale * stale * (now - pulled)
    before, after = (np.abs((g - current).mean(0)).mean() for g in (stale, compensated))
    assert after < 0.5 * before


def test_its_memory_is_a_slot_of_the_checkpoint(tmp_path):
    compensation = DelayCompensation(mean_square_decay=0.75)
    state = ShardState.initial(np.ones(4, np.float32), np.zeros(0, np.float32), SGD(momentum=0.0))
    state.slots |= compensation.new_slots(4)
    blocks = DecayBlocks(4, [], 0.0)
    shard = ParameterShard(state, SGD(momentum=0.0), blocks, 0.9, 0, compensation)
    shard.stage(("w", 0), np.full(4, 2, np.float32), np.zeros(0, np.float32))
    shard.apply(("w", 0), 0.1, 0.5, 1.0, (np.ones(4, np.float32), np.zeros(0, np.float32)))
    shard.save(str(tmp_path / "state.npz"), 1)
    stored = np.load(tmp_path / "state.npz")[f"slot/{MEAN_SQUARE}"]
    np.testing.assert_array_equal(stored, np.ones(4, np.float32))  # (1 - .75) * 2^2
