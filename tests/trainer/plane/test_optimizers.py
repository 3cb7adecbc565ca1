"""The fused, sharded updates against Keras's and TensorFlow's own optimizers."""

import itertools

import keras
import numba
import numpy as np
import pytest
import tensorflow as tf
from pydantic import TypeAdapter, ValidationError

from manylabel.trainer.plane.layout import ParameterLayout, VariableSlot, cut
from manylabel.trainer.plane.optimizers import (
    BLOCK_SIZE,
    SGD,
    DecayBlocks,
    MeanSquareStart,
    Optimizer,
    RMSprop,
)
from manylabel.trainer.plane.schedules import PolyakAverage
from manylabel.trainer.plane.shard import ParameterShard, ShardState

pytestmark = pytest.mark.slow

STEPS = 50
L2 = 0.01

# Sizes of the variables; every other one is decayed. The first vector is shorter than the
# alignment of shards, the last is longer than a block of parallel work.
VECTORS = {
    "shorter_than_alignment": (3, 2),
    "uneven": (7, 30, 1, 64, 101),
    "longer_than_a_block": (5, BLOCK_SIZE + 100, 1000, BLOCK_SIZE + 3),
}


@pytest.fixture(autouse=True)
def _one_thread():
    """Threads that wait for each other on busy cores make small updates slow."""
    before = numba.get_num_threads()
    numba.set_num_threads(1)
    yield
    numba.set_num_threads(before)


def keras_rmsprop(rate):
    return keras.optimizers.RMSprop(rate, rho=0.8, momentum=0.9, epsilon=1e-3)


def keras_sgd(rate):
    return keras.optimizers.SGD(rate, momentum=0.9)


def tf1_rmsprop(rate):
    return tf.compat.v1.train.RMSPropOptimizer(lambda: rate, decay=0.8, momentum=0.9, epsilon=1e-3)


RMSPROP = RMSprop(rho=0.8, momentum=0.9, epsilon=1e-3, mean_square_start=MeanSquareStart.ZEROS)
CASES = {
    "rmsprop_keras": (RMSPROP, keras_rmsprop),
    "rmsprop_tf1": (
        RMSPROP.model_copy(update={"mean_square_start": MeanSquareStart.ONES}),
        tf1_rmsprop,
    ),
    "rmsprop_without_momentum": (
        RMSPROP.model_copy(update={"momentum": 0.0}),
        lambda rate: keras.optimizers.RMSprop(rate, rho=0.8, epsilon=1e-3),
    ),
    "sgd_momentum": (SGD(momentum=0.9), keras_sgd),
    "sgd": (SGD(momentum=0.0), keras.optimizers.SGD),
}


def layout_of(sizes):
    offsets = itertools.accumulate(sizes, initial=0)
    slots = tuple(
        VariableSlot(path=f"variable{i}", shape=(size,), offset=offset, decayed=bool(i % 2))
        for i, (size, offset) in enumerate(zip(sizes, offsets, strict=False))
    )
    return ParameterLayout(parameters=slots, statistics=())


def learning_rate(step):
    """It falls, so that a rate kept from an earlier step would show."""
    return 0.01 * 0.97**step


def gradient(size, step):
    """Random, with scales that differ from value to value by a factor of a thousand."""
    random = np.random.default_rng(1000 + step)
    scales = np.geomspace(1e-2, 1e1, size)
    return (random.standard_normal(size) * scales).astype(np.float32)


def initial(size):
    return np.random.default_rng(7).standard_normal(size).astype(np.float32)


@pytest.fixture(scope="module")
def golden():
    """golden(vector, case): float32[STEPS, n], the weights after each step of the reference."""
    known = {}

    def trajectory(vector, case):
        if (vector, case) not in known:
            known[vector, case] = _reference(layout_of(VECTORS[vector]), CASES[case][1])
        return known[vector, case]

    return trajectory


def _reference(layout, make_optimizer):
    """Whole variables, an L2 term in the loss, TensorFlow's gradients, no code of ours."""
    start = initial(layout.parameter_count)
    variables = [tf.Variable(start[slot.offset : slot.stop]) for slot in layout.parameters]
    optimizer = make_optimizer(learning_rate(0))
    trajectory = []
    for step in range(STEPS):
        slopes = gradient(layout.parameter_count, step)
        with tf.GradientTape() as tape:
            loss = tf.add_n(
                [
                    tf.reduce_sum(variable * slopes[slot.offset : slot.stop])
                    for variable, slot in zip(variables, layout.parameters, strict=True)
                ]
            )
            loss += L2 * tf.add_n(
                [
                    tf.reduce_sum(variable**2)
                    for variable, slot in zip(variables, layout.parameters, strict=True)
                    if slot.decayed
                ]
            )
        gradients = tape.gradient(loss, variables)
        if isinstance(optimizer, keras.optimizers.Optimizer):
            optimizer.learning_rate = learning_rate(step)
        else:  # TF1 reads its rate anew at each update
            optimizer._learning_rate = learning_rate(step)
        optimizer.apply_gradients(zip(gradients, variables, strict=True))
        trajectory.append(np.concatenate([variable.numpy() for variable in variables]))
    return np.stack(trajectory)


def train_sharded(vector, optimizer, shards, averaging):
    """The weights after each step, float32[STEPS, n], and the average at the end, float32[n]."""
    layout = layout_of(VECTORS[vector])
    start = initial(layout.parameter_count)
    nothing = np.zeros(0, np.float32)
    ranges = cut(layout.parameter_count, shards)
    own = [
        ParameterShard(
            ShardState.initial(start[a:b], nothing, optimizer),
            optimizer,
            DecayBlocks(b - a, layout.decayed_within(a, b), L2),
            0.9,  # there are no statistics
        )
        for a, b in ranges
    ]
    trajectory = []
    for step in range(STEPS):
        slopes = gradient(layout.parameter_count, step)
        for shard, (a, b) in zip(own, ranges, strict=True):
            shard.stage(("worker", step), slopes[a:b], nothing)
            shard.apply(("worker", step), learning_rate(step), averaging.decay_at(step + 1))
        trajectory.append(np.concatenate([shard.weights(step + 1)[0] for shard in own]))
    return np.stack(trajectory), np.concatenate([shard._state.average for shard in own])


@pytest.mark.parametrize("shards", range(1, 8))
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("vector", VECTORS)
def test_sharded_updates_equal_the_reference(golden, vector, case, shards):
    averaging = PolyakAverage(decay=0.95, warm_up=shards % 2 == 0)
    weights, average = train_sharded(vector, CASES[case][0], shards, averaging)
    expected = golden(vector, case)
    np.testing.assert_allclose(weights, expected, rtol=1e-6, atol=1e-6)

    by_hand = initial(expected.shape[1]).astype(np.float64)
    for step, after in enumerate(expected, start=1):
        decay = min(0.95, (1 + step) / (10 + step)) if averaging.warm_up else 0.95
        by_hand = decay * by_hand + (1 - decay) * after
    np.testing.assert_allclose(average, by_hand, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("case", CASES)
def test_the_number_of_shards_changes_no_bit(case):
    averaging = PolyakAverage(decay=0.9)
    whole = train_sharded("uneven", CASES[case][0], 1, averaging)
    for shards in (2, 5, 7):
        parts = train_sharded("uneven", CASES[case][0], shards, averaging)
        np.testing.assert_array_equal(whole[0], parts[0])
        np.testing.assert_array_equal(whole[1], parts[1])


@pytest.mark.parametrize("case", ["rmsprop_tf1", "sgd_momentum"])
def test_the_number_of_threads_changes_no_bit(case):
    averaging = PolyakAverage(decay=0.9)
    alone = train_sharded("longer_than_a_block", CASES[case][0], 1, averaging)
    numba.set_num_threads(numba.config.NUMBA_NUM_THREADS)
    together = train_sharded("longer_than_a_block", CASES[case][0], 1, averaging)
    np.testing.assert_array_equal(alone[0], together[0])
    np.testing.assert_array_equal(alone[1], together[1])


def test_the_first_two_rmsprop_steps_by_hand():
    """g = 3, then 1; ones-initialised; rho .5, momentum .5, epsilon 1, rate .2."""
    optimizer = RMSprop(rho=0.5, momentum=0.5, epsilon=1.0)
    weights, average = np.ones(1, np.float32), np.ones(1, np.float32)
    slots = optimizer.new_slots(1)
    blocks = DecayBlocks(1, [], 0.0)
    # mean square .5 + .5 * 9 = 5, buffer .2 * 3 / sqrt(6)
    optimizer.update(weights, average, slots, np.full(1, 3, np.float32), blocks, 0.2, 0.75)
    first = 0.6 / 6**0.5
    assert slots["mean_square"][0] == pytest.approx(5)
    assert weights[0] == pytest.approx(1 - first)
    assert average[0] == pytest.approx(1 - 0.25 * first)
    # mean square 2.5 + .5 = 3, buffer .5 * first + .2 / sqrt(4)
    optimizer.update(weights, average, slots, np.ones(1, np.float32), blocks, 0.2, 0.75)
    assert slots["momentum"][0] == pytest.approx(0.5 * first + 0.1)
    assert weights[0] == pytest.approx(1 - first - 0.5 * first - 0.1)


def plain_rmsprop(optimizer, weights, average, slots, g, rate, one_minus_decay):
    """The formula in NumPy, one float32 operation after the other; new (weights, average)."""
    rho, momentum, epsilon = map(np.float32, (optimizer.rho, optimizer.momentum, optimizer.epsilon))
    square = rho * slots["mean_square"] + np.float32(1 - optimizer.rho) * (g * g)
    step = momentum * slots["momentum"] + rate * g / np.sqrt(square + epsilon)
    slots["mean_square"], slots["momentum"] = square, step
    weights = weights - step
    return weights, average + one_minus_decay * (weights - average)


def plain_sgd(optimizer, weights, average, slots, g, rate, one_minus_decay):
    step = np.float32(optimizer.momentum) * slots["momentum"] - rate * g
    slots["momentum"] = step
    weights = weights + step
    return weights, average + one_minus_decay * (weights - average)


@pytest.mark.parametrize(
    ("optimizer", "plain"),
    [(RMSPROP, plain_rmsprop), (RMSprop(), plain_rmsprop), (SGD(momentum=0.7), plain_sgd)],
)
def test_every_bit_is_that_of_the_plain_formula(optimizer, plain):
    """However the pass is cut and compiled: no fused multiply-add, no reordered operation."""
    size = 2 * BLOCK_SIZE + 77  # no multiple of a SIMD register's width
    decayed = [(0, 3), (1000, BLOCK_SIZE + 5), (BLOCK_SIZE + 6, size - 1)]
    twice_l2 = np.zeros(size, np.float32)
    for start, stop in decayed:
        twice_l2[start:stop] = 2 * np.float32(L2)
    blocks = DecayBlocks(size, decayed, L2)
    fused = [initial(size), initial(size), optimizer.new_slots(size)]
    by_hand = [initial(size), initial(size), optimizer.new_slots(size)]
    for step in range(5):
        slopes, rate = gradient(size, step), learning_rate(step)
        optimizer.update(*fused, slopes, blocks, rate, 0.95)
        g = slopes + twice_l2 * by_hand[0]
        by_hand[:2] = plain(optimizer, *by_hand, g, np.float32(rate), np.float32(1 - 0.95))
    assert fused[2].keys() == by_hand[2].keys()
    for received, expected in zip(
        [*fused[:2], *fused[2].values()], [*by_hand[:2], *by_hand[2].values()], strict=True
    ):
        np.testing.assert_array_equal(received.view(np.uint32), expected.view(np.uint32))


@pytest.mark.parametrize("optimizer", [RMSprop(), SGD()])
def test_gradients_are_only_read(optimizer):
    vectors = [np.ones(20, np.float32) for _ in range(3)]
    vectors[2].flags.writeable = False  # as they come from an object store
    weights, average, slopes = vectors
    optimizer.update(
        weights, average, optimizer.new_slots(20), slopes, DecayBlocks(20, [], 0.0), 0.1, 0.9
    )
    assert (slopes == 1).all()
    assert (weights < 1).all()


@pytest.mark.parametrize(
    ("size", "decayed"),
    [
        (0, []),
        (10, []),
        (10, [(0, 10)]),
        (10, [(0, 3), (3, 5), (9, 10)]),
        (3 * BLOCK_SIZE, [(1, BLOCK_SIZE), (BLOCK_SIZE + 1, 3 * BLOCK_SIZE - 1)]),
    ],
)
def test_decay_blocks_cover_the_range_once(size, decayed):
    blocks = DecayBlocks(size, decayed, 0.5)
    coefficients = np.full(size, -1.0, np.float32)
    for (start, stop), l2 in zip(blocks.bounds, blocks.l2, strict=True):
        assert 0 < stop - start <= BLOCK_SIZE
        assert (coefficients[start:stop] == -1).all()
        coefficients[start:stop] = l2
    expected = np.zeros(size, np.float32)
    for start, stop in decayed:
        expected[start:stop] = 0.5
    np.testing.assert_array_equal(coefficients, expected)


def test_decayed_intervals_may_have_a_coefficient_each():
    blocks = DecayBlocks(10, [(0, 3), (3, 5), (9, 10)], [0.5, 0.25, 0.0])
    found = dict(zip(map(tuple, blocks.bounds.tolist()), blocks.l2.tolist(), strict=True))
    assert found == {(0, 3): 0.5, (3, 5): 0.25, (5, 9): 0.0, (9, 10): 0.0}
    with pytest.raises(ValueError, match="expected 2 coefficients, received 1"):
        DecayBlocks(10, [(0, 3), (3, 5)], [0.5])


def test_the_name_decides_the_kind_of_settings():
    read = TypeAdapter(Optimizer).validate_python
    assert read({"name": "sgd", "momentum": 0.5}) == SGD(momentum=0.5)
    assert read({"name": "rmsprop"}) == RMSprop()


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"name": "adam"}, "adam"),
        ({"name": "sgd", "rho": 0.9}, "rho"),
        ({"name": "sgd", "momentum": 1.0}, "momentum"),
        ({"name": "rmsprop", "rho": 1.0}, "rho"),
        ({"name": "rmsprop", "momentum": -0.1}, "momentum"),
        ({"name": "rmsprop", "epsilon": 0}, "epsilon"),
        ({"name": "rmsprop", "mean_square_start": "twos"}, "mean_square_start"),
    ],
)
def test_wrong_settings_are_refused(wrong, named):
    with pytest.raises(ValidationError, match=named):
        TypeAdapter(Optimizer).validate_python(wrong)
