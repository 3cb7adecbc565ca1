"""What policies decide, carried out on shards: by hand, with every record counted once."""

import math

import numpy as np
import pytest
import tensorflow as tf

from manylabel.trainer.plane.failures import FailureConfig
from manylabel.trainer.plane.layout import cut
from manylabel.trainer.plane.optimizers import SGD, RMSprop
from manylabel.trainer.plane.policies.asynchronous import AsynchronousPolicy
from manylabel.trainer.plane.policies.compensation import DelayCompensation, InverseStaleness
from manylabel.trainer.plane.policies.synchronous import SynchronousPolicy
from manylabel.trainer.plane.protocols import GradientReport, Wait
from manylabel.trainer.records.ledger import Settlement
from manylabel.trainer.runs.checkpoint import checkpoint_path, list_checkpoints, read_manifest
from tests.trainer.plane._plane import BATCH, MOMENTUM, PARAMETERS, Plane


def random_gradient(seed, size=1.0):
    return size * np.random.default_rng(seed).standard_normal(PARAMETERS).astype(np.float32)


def synchronous(tmp_path, gradients, workers="ab", **settings):
    """A plane whose workers have a lease each and stand before their first gradient."""
    plane = Plane(tmp_path, policy=SynchronousPolicy(gradients), **settings)
    leases = {}
    for worker in workers:
        plane.coordinator.worker_started(worker)
    for worker in workers:
        leases[worker] = plane.coordinator.lease(worker)
        assert plane.ask(worker).version == 0
    return plane, leases


# Clipping


@pytest.mark.parametrize("size", [0.01, 1.0, 100.0])
@pytest.mark.parametrize("shards", [1, 3])
def test_a_gradient_is_clipped_by_its_global_norm_as_tensorflow_does(tmp_path, size, shards):
    plane = Plane(tmp_path, shards=shards, global_clipnorm=3.0)
    plane.coordinator.lease("a")
    gradient = random_gradient(1, size)
    plane.push("a", range(4), gradient)
    variables = [gradient[:7], gradient[7:31], gradient[31:]]
    clipped, norm = tf.clip_by_global_norm([tf.constant(v) for v in variables], 3.0)
    expected = 1 - 0.25 * np.concatenate([np.asarray(v) for v in clipped])
    np.testing.assert_allclose(plane.weights(1), expected, rtol=0, atol=1e-6)
    (row,) = plane.coordinator.status().rows
    assert row.clipped == (float(norm) > 3)
    assert row.gradient_norm == pytest.approx(float(norm), rel=1e-6), "as it was before"


def test_what_is_not_clipped_keeps_every_bit(tmp_path):
    ends = []
    for clip in (None, 1e6):
        plane = Plane(tmp_path / str(clip), global_clipnorm=clip, optimizer=RMSprop())
        plane.work()
        ends.append(plane.weights(10))
    np.testing.assert_array_equal(*ends)


def test_clipping_comes_before_the_optimizer_and_leaves_l2_alone(tmp_path):
    """RMSprop with epsilon near 0 takes steps that do not depend on the gradient's size."""
    tiny = RMSprop(momentum=0.0, rho=0.0, epsilon=1e-30, mean_square_start="zeros")
    plane = Plane(tmp_path, global_clipnorm=1.0, optimizer=tiny)
    plane.coordinator.lease("a")
    plane.push("a", range(4), 100.0)
    np.testing.assert_allclose(plane.weights(1), 0.75, rtol=1e-6)


# A bound on staleness


def test_a_dropped_gradient_changes_nothing_and_its_records_are_dealt_again(tmp_path):
    plane = Plane(tmp_path, policy=AsynchronousPolicy(drop_above=0))
    for worker in "ab":
        plane.coordinator.lease(worker)
        plane.ask(worker)
    plane.push("a", range(4), 1.0)
    before = plane.weights(1).copy()
    answer = plane.push("b", range(8, 12), 5.0, base=0)
    assert answer.version == 1, "it goes on with new weights"
    np.testing.assert_array_equal(plane.weights(1), before)
    np.testing.assert_array_equal(plane.statistics(1), MOMENTUM + 0.75)
    status = plane.coordinator.status()
    assert (status.step, status.settled, status.notes) == (1, 4, []), "nothing went wrong"
    assert plane.coordinator.lease("c") == (8, 12)
    plane.push("b", range(12, 16), 1.0, base=1)
    row = plane.coordinator.status().rows[-1]
    assert (row.dropped, row.step, row.samples) == (1, 2, 8)
    for shard in plane.shards:
        assert shard._staged == {}


def test_every_record_is_counted_once_whatever_is_dropped(tmp_path):
    """Workers that push in turn: all but the first of a round are too stale."""
    plane = Plane(tmp_path, total=40, policy=AsynchronousPolicy(drop_above=1))
    base, turns = dict.fromkeys("abcd", 0), 0
    batches: dict[str, list[range]] = {worker: [] for worker in base}
    while not plane.coordinator.status().finished:
        turns += 1
        assert turns < 100
        for worker in base:
            if not batches[worker] and (lease := plane.coordinator.lease(worker)):
                batches[worker] = [range(*lease)[i : i + BATCH] for i in (0, BATCH)]
                batches[worker] = [positions for positions in batches[worker] if positions]
            if batches[worker]:
                answer = plane.push(worker, batches[worker].pop(0), base=base[worker])
                base[worker] = answer.version
    plane.coordinator.finish()
    ledger = read_manifest(list_checkpoints(tmp_path)[-1].path).ledger
    assert ledger.settled[Settlement.APPLIED] == 40
    assert (ledger.next_position, ledger.undone) == (40, ())
    status = plane.coordinator.status()
    assert status.samples == 40


def test_a_worker_that_waits_gets_the_weights_of_when_it_was_let_on(tmp_path):
    plane = Plane(tmp_path, policy=AsynchronousPolicy(wait_at=0))
    for worker in "abc":
        plane.coordinator.lease(worker)
    assert plane.ask("a").version == 0
    assert plane.ask("b") is Wait.WAIT
    assert plane.ask("c") is Wait.WAIT
    assert not plane.coordinator.answers_waiting
    assert plane.push("a", range(4)) is Wait.WAIT, "it was b's turn before"
    assert plane.coordinator.answers_waiting
    assert plane.ask("c") is Wait.WAIT
    snapshot = plane.ask("b")
    assert not plane.coordinator.answers_waiting
    assert snapshot.version == 1
    assert (snapshot.answers[0][0] == 0.75).all()
    plane.push("b", range(8, 12), base=1)
    rows = plane.coordinator.status().rows
    assert [row.staleness for row in rows] == [0, 0]
    assert sum(row.waited for row in rows) == 3


def test_workers_that_wait_are_not_taken_for_dead(tmp_path):
    """The clock of these tests goes on by one with each look at it."""
    limits = FailureConfig(worker_silence_seconds=12)
    plane = Plane(tmp_path, failures=limits, policy=AsynchronousPolicy(wait_at=0))
    for worker in ("hung", "waiting"):
        plane.coordinator.worker_started(worker)
        plane.coordinator.lease(worker)
    plane.ask("hung")
    assert plane.ask("waiting") is Wait.WAIT
    for _ in range(20):
        plane.coordinator.status()
    assert plane.coordinator.status().silent_workers == ["hung"]
    assert list(plane.coordinator.status().heard) == ["hung"]
    plane.coordinator.worker_ended("hung", "killed")
    assert plane.coordinator.answers_waiting
    assert plane.ask("waiting").version == 0


@pytest.mark.parametrize("end", ["stop", "death", "failure"])
def test_who_waits_is_told_when_there_is_nothing_to_wait_for(tmp_path, end):
    limits = FailureConfig.model_validate({"max_worker_restarts": 0 if end == "failure" else 9})
    plane = Plane(tmp_path, failures=limits, policy=AsynchronousPolicy(wait_at=0))
    plane.coordinator.lease("a")
    plane.ask("a")
    assert plane.ask("b") is Wait.WAIT
    if end == "stop":
        plane.coordinator.stop()
    else:
        plane.coordinator.worker_ended("b" if end == "death" else "other", "killed")
    assert plane.coordinator.answers_waiting
    assert plane.ask("b") is None
    assert not plane.coordinator.answers_waiting


# Compensation


def test_the_rate_is_divided_by_the_staleness_and_the_row_tells_the_schedules(tmp_path):
    plane = Plane(tmp_path, compensation=InverseStaleness())
    plane.coordinator.lease("a")
    for number, base in enumerate([0, 0, 0, 0]):
        plane.push("a", [number], 1.0, base=base)
    steps = 0.25 * (1 + 1 + 1 / 2 + 1 / 3)
    np.testing.assert_allclose(plane.weights(4), 1 - steps, rtol=1e-6)
    rows = plane.coordinator.status().rows
    assert [row.learning_rate for row in rows] == [0.25] * 4
    assert [row.compensated for row in rows] == [0, 0, 1, 1]


def test_a_delay_is_compensated_from_the_weights_that_the_worker_was_given(tmp_path):
    compensation = DelayCompensation(adaptive=False, strength=0.5)
    plane = Plane(tmp_path, compensation=compensation, shards=3)
    for worker in "ab":
        plane.coordinator.lease(worker)
        plane.ask(worker)
    first, stale = random_gradient(1), random_gradient(2)
    plane.push("a", range(4), first)
    plane.push("b", range(8, 12), stale)
    moved = 1 - 0.25 * first
    expected = moved - 0.25 * (stale + 0.5 * stale**2 * (moved - 1))
    np.testing.assert_allclose(plane.weights(2), expected, rtol=0, atol=1e-6)
    assert [row.compensated for row in plane.coordinator.status().rows] == [0, 1]


# Synchronous rounds


def test_a_round_is_the_mean_of_its_gradients_by_their_records(tmp_path):
    plane, _ = synchronous(tmp_path, 2)
    left, right = random_gradient(1), random_gradient(2)
    assert plane.push("a", range(3), left, loss=1.0) is Wait.WAIT
    assert (plane.weights(0) == 1).all(), "nothing is applied before the round is closed"
    assert plane.coordinator.status().settled == 0
    answer = plane.push("b", [8], right, loss=3.0)
    mean = 0.75 * left + 0.25 * right
    np.testing.assert_allclose(plane.weights(1), 1 - 0.25 * mean, rtol=0, atol=1e-6)
    assert (plane.statistics(1) == MOMENTUM + 0.75).all(), "they decay once a round"
    assert answer.version == 1
    assert plane.ask("a").version == 1
    status = plane.coordinator.status()
    (row,) = status.rows
    assert (row.step, row.samples, row.loss, row.gradients) == (1, 4, 1.5, 2)
    assert row.gradient_norm == pytest.approx(np.linalg.norm(mean), rel=1e-5)
    assert row.staleness_counts == ((0, 2),)
    assert status.applied == {"a": 3, "b": 1}
    for shard in plane.shards:
        assert shard._staged == {}


def test_it_is_the_mean_that_is_clipped(tmp_path):
    plane, _ = synchronous(tmp_path, 2, global_clipnorm=1.0)
    left, right = random_gradient(1, 4.0), random_gradient(2, 4.0)
    plane.push("a", range(4), left)
    plane.push("b", range(8, 12), right)
    (clipped,), norm = tf.clip_by_global_norm([tf.constant((left + right) / 2)], 1.0)
    np.testing.assert_allclose(plane.weights(1), 1 - 0.25 * clipped, rtol=0, atol=1e-6)
    (row,) = plane.coordinator.status().rows
    assert row.clipped == 1
    assert row.gradient_norm == pytest.approx(float(norm), rel=1e-5)


def test_the_sum_does_not_hang_on_who_came_first(tmp_path):
    ends = []
    for order in ("abc", "cab", "bca"):
        plane, leases = synchronous(tmp_path / order, 3, "abc")
        for worker in order:
            start, _ = leases[worker]
            plane.push(worker, range(start, start + 4), random_gradient(start, 1e3))
        ends.append(plane.weights(1).copy())
    np.testing.assert_array_equal(ends[0], ends[1])
    np.testing.assert_array_equal(ends[0], ends[2])


def test_a_gradient_that_comes_too_late_is_dropped_and_dealt_again(tmp_path):
    plane, leases = synchronous(tmp_path, 2, "abc")
    plane.push("a", range(4))
    plane.push("b", range(8, 12))
    assert plane.push("c", range(16, 20), 9.0, base=0).version == 1
    assert (plane.weights(1) == 0.75).all()
    assert plane.coordinator.lease("d") == (16, 20)
    assert leases["c"] == (16, 24)


def test_a_worker_killed_in_a_round_takes_its_part_along_and_the_round_goes_on(tmp_path):
    plane, _ = synchronous(tmp_path, 3, "abc")
    plane.push("a", range(4), 100.0)
    plane.push("b", range(8, 12), 1.0)
    plane.coordinator.worker_ended("a", "killed")
    assert plane.coordinator.status().step == 0, "c is still at work"
    plane.push("c", range(16, 20), 2.0)
    assert (plane.weights(1) == 1 - 0.25 * 1.5).all(), "of the two that are left"
    status = plane.coordinator.status()
    assert (status.step, status.samples, status.settled) == (1, 8, 8)
    assert plane.ask("b").version == 1
    assert plane.coordinator.lease("heir") == (0, 8), "all that it held"
    assert plane.coordinator._updates._held == {}, "nothing is kept of the dead"


def test_a_worker_killed_before_its_push_ends_the_round_it_held_up(tmp_path):
    plane, _ = synchronous(tmp_path, 2, checkpoint_every=4)
    plane.push("a", range(4))
    plane.coordinator.worker_ended("b", "killed")
    status = plane.coordinator.status()
    assert (status.step, status.samples) == (1, 4)
    assert status.saved == [1], "and is saved as any other"
    assert plane.coordinator.answers_waiting
    assert plane.ask("a").version == 1


def test_a_checkpoint_holds_whole_rounds_and_the_rest_is_dealt_again(tmp_path):
    plane, _ = synchronous(tmp_path, 2)
    plane.push("a", range(4))
    plane.push("b", range(8, 12))
    plane.ask("a")
    plane.push("a", range(4, 8), base=1)  # an open round
    plane.coordinator.stop()
    assert plane.push("b", range(12, 16), base=1) is None
    plane.coordinator.finish()
    status = plane.coordinator.status()
    assert (status.step, status.samples) == (1, 8)
    ledger = read_manifest(checkpoint_path(tmp_path, 1)).ledger
    assert ledger.undone == ((4, 8), (12, 16))
    resumed = Plane(tmp_path, resume=1)
    resumed.work()
    assert resumed.coordinator.status().samples == 40


def test_a_gradient_with_nan_leaves_its_round_open(tmp_path):
    plane, _ = synchronous(tmp_path, 2)
    plane.push("a", range(4), 1.0)
    assert plane.push("b", range(8, 12), math.nan).version == 0
    assert plane.push("b", range(12, 16), 3.0).version == 1
    assert (plane.weights(1) == 0.5).all()
    status = plane.coordinator.status()
    assert (status.samples, status.settled) == (8, 12)
    assert status.counts.rejected_gradients == 1


@pytest.mark.parametrize("optimizer", [SGD(momentum=0.9), RMSprop(epsilon=1e-3)])
@pytest.mark.parametrize("workers", ["a", "ab", "abcd"])
def test_rounds_equal_one_worker_with_a_batch_as_large_as_all_of_theirs(
    tmp_path, optimizer, workers
):
    """A loss that is a mean over records: sum of (w - x)^2 / 2 at x = the record's own."""
    total = 48

    def slopes(weights, positions):
        targets = np.stack([random_gradient(position) for position in positions])
        return (weights - targets).mean(0)

    policy = SynchronousPolicy(len(workers))
    rounds = Plane(tmp_path / "rounds", total=total, optimizer=optimizer, policy=policy)
    large = Plane(tmp_path / "large", total=total, optimizer=optimizer)
    rounds.ledger.lease_size, large.ledger.lease_size = BATCH, total
    large.coordinator.lease("one")
    for worker in workers:
        rounds.coordinator.worker_started(worker)
    updates = total // (BATCH * len(workers))
    for update in range(updates):
        now = rounds.weights(update).copy()
        whole = []
        for worker in workers:
            assert rounds.ask(worker).version == update
            start, _ = rounds.coordinator.lease(worker) or (0, 0)
            positions = np.arange(start, start + BATCH)
            whole += positions.tolist()
            rounds.push(worker, positions, slopes(now, positions), base=update)
        large.push("one", whole, slopes(large.weights(update), whole), base=update)
    assert np.abs(large.weights(updates) - 1).max() > 0.3, "it moved"
    np.testing.assert_allclose(rounds.weights(updates), large.weights(updates), rtol=0, atol=1e-5)


def test_a_report_that_names_records_out_with_nobody_is_no_part_of_a_round(tmp_path):
    plane, _ = synchronous(tmp_path, 2)
    report, squares = plane.stage("a", [30, 31], 1.0)
    assert isinstance(report, GradientReport)
    assert plane.coordinator.commit(report, squares) is None
    plane.push("a", range(4))
    assert plane.coordinator.status().step == 0


def test_shards_cut_anywhere_give_the_same_mean(tmp_path):
    ends = []
    for shards in (1, 2, 5):
        plane, _ = synchronous(tmp_path / str(shards), 2, shards=shards)
        plane.push("a", range(3), random_gradient(1))
        plane.push("b", range(8, 12), random_gradient(2))
        assert len(cut(PARAMETERS, shards)) == shards
        ends.append(plane.weights(1))
    np.testing.assert_array_equal(ends[0], ends[1])
    np.testing.assert_array_equal(ends[0], ends[2])
