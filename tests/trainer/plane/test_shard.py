"""A shard stages, applies and forgets; it never applies what it was told to forget."""

import os

import numpy as np
import pytest

from manylabel.trainer.plane.optimizers import SGD, DecayBlocks, RMSprop
from manylabel.trainer.plane.shard import ParameterShard, ShardState

N, M = 20, 3
PLAIN = SGD(momentum=0.0)
MOMENTUM = 0.5  # of the statistics


def floats(*values, size=N):
    return np.resize(np.asarray(values, np.float32), size)


def new_shard(optimizer=PLAIN, version=0):
    state = ShardState.initial(floats(1.0), floats(2.0, size=M), optimizer)
    return ParameterShard(state, optimizer, DecayBlocks(N, [], 0.0), MOMENTUM, version)


def stage(shard, update, gradient=1.0, statistics=0.5):
    return shard.stage(update, floats(gradient), floats(statistics, size=M))


def test_a_staged_update_changes_nothing_until_it_is_applied():
    shard = new_shard()
    stage(shard, ("a", 0))
    weights, statistics = shard.weights(0)
    assert (weights == 1).all()
    assert (statistics == 2).all()
    shard.apply(("a", 0), 0.25, 0.75)
    weights, statistics = shard.weights(1)
    assert (weights == 0.75).all()
    assert (statistics == 2 * MOMENTUM + 0.5).all()
    assert shard.version == 1


def test_averages_of_weights_and_statistics_by_hand(tmp_path):
    shard = new_shard()
    for step in range(2):
        stage(shard, ("a", step))
        shard.apply(("a", step), 0.25, 0.75)
    shard.save(str(tmp_path / "state.npz"), 2)
    state = np.load(tmp_path / "state.npz")
    # Weights 1, .75, .5 and statistics 2, 1.5, 1.25; the averages keep 3/4 of themselves.
    np.testing.assert_array_equal(state["average"], floats((1 * 0.75 + 0.75 / 4) * 0.75 + 0.5 / 4))
    np.testing.assert_array_equal(
        state["statistics_average"], floats((2 * 0.75 + 1.5 / 4) * 0.75 + 1.25 / 4, size=M)
    )


def test_updates_are_applied_in_the_order_they_are_committed_not_staged():
    shard, other = new_shard(SGD(momentum=0.9)), new_shard(SGD(momentum=0.9))
    stage(shard, ("a", 0), 3.0)
    stage(shard, ("b", 0), 1.0)
    shard.apply(("b", 0), 0.1, 0.5)
    shard.apply(("a", 0), 0.2, 0.5)
    stage(other, ("x", 0), 1.0)
    other.apply(("x", 0), 0.1, 0.5)
    stage(other, ("x", 1), 3.0)
    other.apply(("x", 1), 0.2, 0.5)
    np.testing.assert_array_equal(shard.weights(2)[0], other.weights(2)[0])


def test_an_update_can_be_applied_once_only():
    shard = new_shard()
    stage(shard, ("a", 0))
    shard.apply(("a", 0), 0.1, 0.5)
    with pytest.raises(KeyError):
        shard.apply(("a", 0), 0.1, 0.5)
    assert shard.version == 1


def test_a_discarded_update_is_gone_and_others_stay():
    shard = new_shard()
    stage(shard, ("a", 0), 5.0)
    stage(shard, ("a", 1), 1.0)
    shard.discard(("a", 0))
    shard.discard(("a", 0))  # once more does no harm
    with pytest.raises(KeyError):
        shard.apply(("a", 0), 0.25, 0.5)
    shard.apply(("a", 1), 0.25, 0.5)
    assert (shard.weights(1)[0] == 0.75).all()


def test_a_dismissed_worker_leaves_nothing_even_if_it_still_sends():
    shard = new_shard()
    stage(shard, ("dead", 0))
    stage(shard, ("alive", 0))
    shard.dismiss("dead")
    stage(shard, ("dead", 1))  # was on its way
    for late in (("dead", 0), ("dead", 1)):
        with pytest.raises(KeyError):
            shard.apply(late, 0.25, 0.5)
    shard.apply(("alive", 0), 0.25, 0.5)
    assert shard.version == 1


def test_stage_answers_with_the_sum_of_squares():
    gradient = np.random.default_rng(0).standard_normal(N).astype(np.float32)
    answer = new_shard().stage(("a", 0), gradient, floats(0.0, size=M))
    assert answer == pytest.approx(float(np.sum(gradient.astype(np.float64) ** 2)), rel=1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("vector", ["gradient", "statistics"])
@pytest.mark.parametrize("place", [0, 1, -1])
def test_one_bad_value_anywhere_shows_in_the_answer(vector, place, bad):
    vectors = {"gradient": floats(1.0), "statistics": floats(1.0, size=M)}
    vectors[vector][place] = bad
    assert not np.isfinite(new_shard().stage(("a", 0), **vectors))


def test_infinities_of_both_signs_do_not_cancel():
    statistics = np.asarray([np.inf, -np.inf, 0], np.float32)
    assert not np.isfinite(new_shard().stage(("a", 0), floats(1.0), statistics))


def test_a_gradient_too_large_to_square_is_not_finite():
    assert new_shard().stage(("a", 0), floats(1e30), floats(0.0, size=M)) == np.inf


@pytest.mark.parametrize(("gradient", "statistics"), [(N - 1, M), (N + 1, M), (N, M + 1), (1, M)])
def test_vectors_of_another_length_are_refused(gradient, statistics):
    name, own = ("gradient", N) if gradient != N else ("statistics", M)
    with pytest.raises(ValueError, match=rf"{name}: expected shape \({own},\)"):
        new_shard().stage(("a", 0), floats(1.0, size=gradient), floats(1.0, size=statistics))


def test_an_update_lost_is_noticed():
    shard = new_shard(version=7)
    for call in (lambda: shard.weights(8), lambda: shard.save("/dev/null", 6)):
        with pytest.raises(RuntimeError, match=r"expected a shard at version [86], it is at 7"):
            call()


@pytest.mark.parametrize("optimizer", [PLAIN, RMSprop()])
def test_read_only_arrays_are_accepted(optimizer):
    state = ShardState.initial(floats(1.0), floats(2.0, size=M), optimizer)
    for vector in state.vectors().values():
        vector.flags.writeable = False
    shard = ParameterShard(state, optimizer, DecayBlocks(N, [], 0.0), MOMENTUM)
    gradient, statistics = floats(1.0), floats(0.5, size=M)
    gradient.flags.writeable = statistics.flags.writeable = False
    shard.stage(("a", 0), gradient, statistics)
    shard.apply(("a", 0), 0.25, 0.5)
    assert (shard.weights(1)[0] < 1).all()
    assert (state.weights == 1).all()
    assert (gradient == 1).all()


def test_the_initial_state_does_not_share_memory_with_the_models_weights():
    weights, statistics = floats(1.0), floats(2.0, size=M)
    state = ShardState.initial(weights, statistics, PLAIN)
    vectors = list(state.vectors().values())
    for i, vector in enumerate(vectors):
        assert not any(np.shares_memory(vector, other) for other in vectors[i + 1 :])
        assert not np.shares_memory(vector, weights)
        assert not np.shares_memory(vector, statistics)


@pytest.mark.parametrize("optimizer", [PLAIN, RMSprop()])
def test_what_save_writes_is_the_whole_state(tmp_path, optimizer):
    shard = new_shard(optimizer)
    stage(shard, ("a", 0))
    shard.apply(("a", 0), 0.25, 0.5)
    shard.save(str(tmp_path / "state.npz"), 1)
    with np.load(tmp_path / "state.npz", allow_pickle=False) as file:
        read = ShardState.from_vectors({name: file[name] for name in file.files})
    restored = ParameterShard(read, optimizer, DecayBlocks(N, [], 0.0), MOMENTUM, version=1)
    for own in (shard, restored):
        stage(own, ("a", 1), 0.3)
        own.apply(("a", 1), 0.1, 0.9)
    shard.save(str(tmp_path / "one.npz"), 2)
    restored.save(str(tmp_path / "two.npz"), 2)
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()


def test_a_state_that_cannot_be_written_is_an_os_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        new_shard().save(os.fspath(tmp_path / "file" / "state.npz"), 0)


def test_a_shard_may_hold_nothing(tmp_path):
    """With more shards than aligned ranges, some have none."""
    nothing = np.zeros(0, np.float32)
    shard = ParameterShard(
        ShardState.initial(nothing, nothing, PLAIN), PLAIN, DecayBlocks(0, [], 0.1), MOMENTUM
    )
    assert shard.stage(("a", 0), nothing, nothing) == 0
    shard.apply(("a", 0), 0.1, 0.9)
    shard.save(str(tmp_path / "state.npz"), 1)


def test_statistics_stay_between_what_batches_had_however_stale_the_workers():
    """32 workers in turn; the batches' variance falls from 4 to 1 when all have read 4."""
    shard = new_shard()
    own = MOMENTUM * 4.0
    for update in range(64):
        stage(shard, ("a", update), 0.0, own if update < 16 else (1 - MOMENTUM) * 1.0)
        shard.apply(("a", update), 0.1, 0.9)
        assert ((shard.weights(update + 1)[1] >= 1) & (shard.weights(update + 1)[1] <= 4)).all()
    np.testing.assert_allclose(shard.weights(64)[1], 1, rtol=1e-6)
