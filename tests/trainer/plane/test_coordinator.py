"""The coordinator driven by hand: what it applies, counts, rejects and saves, in which order."""

import errno
import math
import os
import shutil

import numpy as np
import pytest

from manylabel.trainer.plane.failures import FailureConfig
from manylabel.trainer.plane.optimizers import SGD, RMSprop
from manylabel.trainer.plane.schedules import ExponentialDecay, PolyakAverage, ScheduleUnit
from manylabel.trainer.records.ledger import LedgerError, Settlement
from manylabel.trainer.records.reader import BadRecordReport
from manylabel.trainer.runs import writer
from manylabel.trainer.runs.checkpoint import (
    checkpoint_path,
    describe_checkpoint,
    list_checkpoints,
    load_shard,
    load_weights,
    read_manifest,
)
from tests._file_sizes import no_file_larger_than
from tests.trainer.plane._plane import MOMENTUM, PARAMETERS, Plane


@pytest.fixture
def plane(tmp_path):
    return Plane(tmp_path)


def test_a_commit_applies_on_every_shard_and_answers_with_the_new_weights(plane):
    plane.coordinator.lease("a")
    snapshot = plane.push("a", range(4))
    assert snapshot.version == 1
    assert (np.concatenate([weights for weights, _ in snapshot.answers]) == 0.75).all()
    assert (plane.weights(1) == 0.75).all()
    assert (plane.statistics(1) == MOMENTUM * 1 + 0.75).all()
    status = plane.coordinator.status()
    assert (status.step, status.samples, status.settled) == (1, 4, 4)


def test_a_snapshot_outlives_later_updates(plane):
    plane.coordinator.lease("a")
    first = plane.push("a", range(4))
    plane.push("a", range(4, 8))
    assert (first.answers[0][0] == 0.75).all()


def test_updates_are_applied_in_the_order_of_their_commits(tmp_path):
    momentum = SGD(momentum=0.9)
    plane, other = (Plane(tmp_path / name, optimizer=momentum) for name in "ab")
    for run in (plane, other):
        run.coordinator.lease("x")
        run.coordinator.lease("y")
    staged = {w: plane.stage(w, [p], g) for w, p, g in (("x", 0, 3.0), ("y", 8, -1.0))}
    plane.coordinator.commit(*staged["y"])
    plane.coordinator.commit(*staged["x"])
    other.push("y", [8], -1.0)
    other.push("x", [0], 3.0)
    np.testing.assert_array_equal(plane.weights(2), other.weights(2))


def test_staleness_is_the_updates_between_a_gradients_weights_and_its_own(plane):
    for worker in "abc":
        plane.coordinator.lease(worker)
    plane.push("a", [0], base=0)
    plane.push("b", [8], base=0)
    plane.push("c", [16], base=0)
    plane.push("a", [1], base=1)
    rows = plane.coordinator.status().rows
    assert [row.staleness for row in rows] == [0, 1, 2, 2]
    assert [row.step for row in rows] == [1, 2, 3, 4]


def test_a_row_says_what_was_applied(tmp_path):
    plane = Plane(tmp_path, shards=3)
    plane.coordinator.lease("a")
    gradient = np.linspace(-2, 3, PARAMETERS)
    plane.push("a", range(4), gradient, loss=0.75)
    (row,) = plane.coordinator.status().rows
    assert (row.step, row.samples, row.loss, row.learning_rate) == (1, 4, 0.75, 0.25)
    assert row.gradient_norm == pytest.approx(np.linalg.norm(gradient), rel=1e-6)
    assert row.images_per_second == 4  # the clock's ticks are a second each


def test_the_learning_rate_follows_applied_samples(tmp_path):
    schedule = ExponentialDecay(learning_rate=1.0, decay_rate=0.5, decay_every=4)
    plane = Plane(tmp_path, schedule=schedule)
    plane.coordinator.lease("a")
    plane.push("a", [0, 1, 2])
    plane.push("a", [3], np.nan)  # not applied, so not counted
    plane.coordinator.report_bad_record("a", BadRecordReport(4, "file", 0, "cut"))
    plane.push("a", [5])
    plane.push("a", [6])
    plane.push("a", [7])
    assert [row.learning_rate for row in plane.coordinator.status().rows] == [1, 1, 0.5, 0.5]
    np.testing.assert_array_equal(plane.weights(4), np.full(PARAMETERS, 1 - 1 - 1 - 0.5 - 0.5))


def test_the_learning_rate_may_follow_steps(tmp_path):
    schedule = ExponentialDecay(
        learning_rate=1.0, decay_rate=0.5, decay_every=2, unit=ScheduleUnit.STEPS
    )
    plane = Plane(tmp_path, schedule=schedule)
    plane.work(most=5)
    rates = [row.learning_rate for row in plane.coordinator.status().rows]
    assert rates[:5] == [1, 1, 0.5, 0.5, 0.25]


def test_the_averages_decay_follows_steps(tmp_path):
    plane = Plane(tmp_path, averaging=PolyakAverage(decay=0.9, warm_up=True))
    plane.coordinator.lease("a")
    plane.push("a", range(4))
    plane.push("a", range(4, 8))
    plane.coordinator.finish()
    average = load_weights(
        describe_checkpoint(checkpoint_path(tmp_path, 2)), averaged=True
    ).parameters
    first = 2 / 11 * 1 + 9 / 11 * 0.75
    np.testing.assert_allclose(average, 3 / 12 * first + 9 / 12 * 0.5, rtol=1e-6)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", [0, PARAMETERS - 1])
def test_a_gradient_with_a_bad_value_on_one_shard_is_applied_on_none(plane, place, bad):
    plane.coordinator.lease("a")
    gradient = np.ones(PARAMETERS)
    gradient[place] = bad
    snapshot = plane.push("a", range(4), gradient)
    assert snapshot.version == 0  # the worker goes on
    assert (plane.weights(0) == 1).all()
    assert (plane.statistics(0) == 1).all()
    status = plane.coordinator.status()
    assert (status.step, status.samples, status.settled) == (0, 0, 4)
    assert status.counts.rejected_gradients == 1
    assert "worker a" in status.notes[0]
    assert "4 records were skipped" in status.notes[0]
    assert plane.ledger.settled(Settlement.REJECTED_GRADIENT) == 4
    for shard in plane.shards:
        with pytest.raises(KeyError):
            shard.apply(("a", 0), 1, 1)


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_is_rejected_too(plane, loss):
    plane.coordinator.lease("a")
    plane.push("a", range(4), loss=loss)
    assert plane.coordinator.status().counts.rejected_gradients == 1
    assert (plane.weights(0) == 1).all()


def test_too_many_rejected_in_a_row_stop_the_training(tmp_path):
    plane = Plane(tmp_path, failures=FailureConfig(max_rejected_in_a_row=1))
    plane.coordinator.lease("a")
    for position, gradient in enumerate([np.nan, 1.0, np.nan]):
        assert plane.push("a", [position], gradient) is not None
    assert plane.failure() == ""
    assert plane.push("a", [3], np.nan) is None
    status = plane.coordinator.status()
    assert "2 gradients in a row with NaN or Inf" in (status.failure or "")
    assert status.counts.rejected_gradients == 3
    assert not status.has_work
    assert plane.coordinator.lease("a") is None
    assert plane.coordinator.snapshot("a") is None


def test_too_many_rejected_in_all_stop_the_training(tmp_path):
    plane = Plane(tmp_path, failures=FailureConfig.model_validate({"max_rejected_gradients": 1}))
    plane.coordinator.lease("a")
    for position, gradient in enumerate([np.nan, 1.0, np.nan]):
        plane.push("a", [position], gradient)
    assert "max_rejected_gradients = 1" in plane.failure()


def test_bad_records_are_counted_reported_and_bounded(tmp_path):
    plane = Plane(tmp_path, failures=FailureConfig.model_validate({"max_bad_records": 1}))
    plane.coordinator.lease("a")
    plane.coordinator.report_bad_record("a", BadRecordReport(3, "train-0.tfrecord", 120, "CRC"))
    status = plane.coordinator.status()
    assert status.notes == ["train-0.tfrecord, byte 120: CRC"]
    assert (status.counts.bad_records, status.settled, status.failure) == (1, 1, None)
    with pytest.raises(LedgerError):
        plane.coordinator.report_bad_record("a", BadRecordReport(3, "train-0.tfrecord", 120, ""))
    plane.coordinator.report_bad_record("a", BadRecordReport(4, "train-0.tfrecord", 240, "CRC"))
    failure = plane.failure()
    assert "max_bad_records = 1" in failure
    assert "train-0.tfrecord, byte 240: CRC" in failure


def test_what_a_dead_worker_held_goes_to_others_and_its_late_commit_is_discarded(plane):
    coordinator = plane.coordinator
    assert coordinator.lease("dead") == (0, 8)
    plane.push("dead", [0, 1])
    late = plane.stage("dead", [2, 3], 5.0)
    coordinator.worker_ended("dead", "killed")
    status = coordinator.status()
    assert status.notes == ["worker dead died (killed); 6 records were taken back"]
    assert status.counts.worker_deaths == 1
    assert coordinator.lease("heir") == (2, 8)

    assert coordinator.commit(*late) is None
    assert coordinator.lease("dead") is None
    assert coordinator.snapshot("dead") is None
    coordinator.report_bad_record("dead", BadRecordReport(4, "file", 0, ""))
    assert plane.push("dead", [5], 5.0) is None  # it goes on computing, for nothing

    status = coordinator.status()
    assert (status.step, status.settled, status.notes) == (1, 2, [])
    assert (plane.weights(1) == 0.75).all()
    plane.push("heir", range(2, 8))
    assert coordinator.status().settled == 8


def test_a_commit_of_records_that_another_worker_holds_is_discarded(plane):
    plane.coordinator.lease("a")
    plane.coordinator.lease("b")
    assert plane.push("b", [0, 8]) is None
    assert plane.coordinator.status().step == 0
    assert (plane.weights(0) == 1).all()


def test_too_many_deaths_stop_the_training(tmp_path):
    plane = Plane(tmp_path, failures=FailureConfig.model_validate({"max_worker_restarts": 1}))
    plane.coordinator.worker_ended("a", "killed")
    assert plane.failure() == ""
    plane.coordinator.worker_ended("b", "out of memory")
    failure = plane.failure()
    assert "max_worker_restarts = 1" in failure
    assert "out of memory" in failure


def test_the_first_failure_is_the_one_that_is_told(tmp_path):
    limits = FailureConfig.model_validate({"max_worker_restarts": 0, "max_bad_records": 0})
    plane = Plane(tmp_path, failures=limits)
    plane.coordinator.lease("b")
    plane.coordinator.worker_ended("a", "killed")
    plane.coordinator.report_bad_record("b", BadRecordReport(0, "file", 0, ""))
    assert "worker deaths" in plane.failure()


def test_stop_lets_the_gradient_under_way_count_and_deals_nothing_more(plane):
    plane.coordinator.lease("a")
    under_way = plane.stage("a", range(4), 1.0)
    plane.coordinator.stop()
    assert plane.coordinator.lease("a") is None
    assert plane.coordinator.commit(*under_way) is None
    assert plane.coordinator.snapshot("a") is None
    status = plane.coordinator.status()
    assert (status.step, status.has_work, status.finished) == (1, False, False)
    plane.coordinator.finish()
    manifest = read_manifest(checkpoint_path(plane.run, 1))
    assert manifest.samples == 4
    assert manifest.ledger.undone == ((4, 8),)
    resumed = Plane(plane.run, resume=1)
    resumed.work()
    assert resumed.coordinator.status().finished


def test_status_tells_each_thing_once(plane):
    plane.coordinator.lease("a")
    plane.push("a", [0], np.nan)
    plane.push("a", [1])
    status = plane.coordinator.status()
    assert (len(status.rows), len(status.notes)) == (1, 1)
    status = plane.coordinator.status()
    assert (status.rows, status.notes, status.saved) == ([], [], [])
    assert status.counts.rejected_gradients == 1


def test_status_tells_whose_gradients_were_applied(plane):
    first, _ = plane.coordinator.lease("a")
    second, _ = plane.coordinator.lease("b")
    plane.push("a", [first, first + 1])
    plane.push("b", [second, second + 1, second + 2])
    plane.push("a", [first + 2])
    plane.push("a", [first + 3], np.nan)
    assert plane.coordinator.status().applied == {"a": 3, "b": 3}
    plane.coordinator.worker_ended("a", "killed")
    assert plane.coordinator.status().applied == {"a": 3, "b": 3}, "it stays counted"


def test_a_run_is_finished_when_every_record_is_settled(tmp_path):
    plane = Plane(tmp_path, total=10)
    assert plane.coordinator.status().has_work
    plane.work()
    status = plane.coordinator.status()
    assert status.finished
    assert not status.has_work
    assert status.samples == 10


def test_checkpoints_come_every_so_many_samples_and_at_the_end(tmp_path):
    plane = Plane(tmp_path, total=40, checkpoint_every=12)
    plane.work()
    plane.coordinator.finish()
    assert plane.coordinator.status().saved == [3, 6, 9, 10]
    assert [(c.step, c.samples) for c in list_checkpoints(tmp_path)] == [
        (3, 12),
        (6, 24),
        (9, 36),
        (10, 40),
    ]


def test_the_last_updates_get_their_row_of_metrics(tmp_path):
    plane = Plane(tmp_path, total=20, updates_per_row=3)
    plane.work()
    plane.coordinator.finish()
    assert [row.step for row in plane.coordinator.status().rows] == [3, 5]


def test_the_last_checkpoint_is_not_written_twice(tmp_path):
    plane = Plane(tmp_path, total=24, checkpoint_every=12)
    plane.work()
    plane.coordinator.status()
    before = checkpoint_path(tmp_path, 6).stat().st_ino
    plane.coordinator.finish()
    assert plane.coordinator.status().saved == []
    assert checkpoint_path(tmp_path, 6).stat().st_ino == before


def test_the_last_checkpoint_holds_records_that_were_settled_after_the_last_update(tmp_path):
    plane = Plane(tmp_path, total=8, checkpoint_every=4)
    plane.coordinator.lease("a")
    plane.push("a", range(4))
    plane.coordinator.report_bad_record("a", BadRecordReport(4, "file", 0, ""))
    plane.push("a", range(5, 8), np.nan)
    assert plane.coordinator.status().saved == [1]
    plane.coordinator.finish()
    assert plane.coordinator.status().saved == [1]
    assert [info.step for info in list_checkpoints(tmp_path)] == [1]
    assert Plane(tmp_path, total=8, resume=1).coordinator.status().finished


@pytest.mark.parametrize("optimizer", [SGD(momentum=0.9), RMSprop(epsilon=1e-3)])
def test_a_checkpoint_is_the_state_of_a_twin_that_stopped_there(tmp_path, optimizer):
    plane = Plane(tmp_path / "run", checkpoint_every=1, optimizer=optimizer)
    updates = plane.work()
    plane.coordinator.finish()
    assert [info.step for info in list_checkpoints(tmp_path / "run")] == [*range(1, updates + 1)]
    for step in range(2, updates + 1, 2):  # whole leases
        twin = Plane(tmp_path / f"twin{step}", optimizer=optimizer)
        assert twin.work(most=step) == step
        twin.coordinator.finish()
        mine, its = (checkpoint_path(p.run, step) for p in (plane, twin))
        _assert_same_state(mine, its)
        assert read_manifest(mine) == read_manifest(its)


@pytest.mark.parametrize("optimizer", [SGD(momentum=0.9), RMSprop(epsilon=1e-3)])
def test_a_run_resumed_from_any_checkpoint_ends_like_an_undisturbed_one(tmp_path, optimizer):
    plane = Plane(tmp_path, checkpoint_every=1, optimizer=optimizer)
    updates = plane.work()
    plane.coordinator.finish()
    undisturbed = load_shard(checkpoint_path(tmp_path, updates), 0, 1).vectors()
    for step in range(1, updates):
        resumed = Plane(tmp_path, resume=step, optimizer=optimizer)
        resumed.work()
        resumed.coordinator.finish()
        status = resumed.coordinator.status()
        assert (status.step, status.samples, status.finished) == (updates, 40, True)
        again = load_shard(checkpoint_path(tmp_path, updates), 0, 1).vectors()
        for name, vector in undisturbed.items():
            np.testing.assert_array_equal(again[name], vector)


def test_a_resumed_run_counts_its_samples_to_the_next_checkpoint_from_there(tmp_path):
    plane = Plane(tmp_path, checkpoint_every=12)
    plane.work(most=4)  # 16 samples: one checkpoint at 12, one at the end
    plane.coordinator.finish()
    resumed = Plane(tmp_path, resume=4, checkpoint_every=12)
    resumed.work()
    assert resumed.coordinator.status().saved == [7, 10]


def test_a_checkpoint_that_cannot_be_written_stops_the_training(tmp_path):
    plane = Plane(tmp_path, checkpoint_every=4)
    (tmp_path / "checkpoints").write_text("a file in the way")
    plane.coordinator.lease("a")
    assert plane.push("a", range(4)) is None
    status = plane.coordinator.status()
    assert "step 1 could not be written" in (status.failure or "")
    assert not status.has_work
    plane.coordinator.finish()
    assert plane.coordinator.status().failure == status.failure


def test_storage_of_a_checkpoint_that_failed_is_tried_again(tmp_path):
    """Also where what failed is no reason to start again: somebody has to mend it."""
    plane = Plane(tmp_path, checkpoint_every=4)
    (tmp_path / "checkpoints").write_text("a file in the way")
    plane.coordinator.lease("a")
    plane.push("a", range(4))
    (tmp_path / "checkpoints").unlink()
    plane.coordinator.finish()
    status = plane.coordinator.status()
    assert (status.saved, status.passing) == ([1], False)
    assert "step 1 could not be written" in (status.failure or "")


@pytest.mark.parametrize("removable", [True, False])
@pytest.mark.parametrize(
    ("numbers", "saved"),
    [
        ([errno.EIO], [1]),
        ([errno.EIO] * 2, []),
        ([errno.EACCES], [1]),
        ([errno.ENOSPC], []),
    ],
)
def test_so_is_that_of_the_last_one_and_once(tmp_path, monkeypatch, numbers, saved, removable):
    """Unless it is full; and what was left of the first try is not in the way of the second."""

    def fail(run):
        raise OSError(errno.EIO, os.strerror(errno.EIO), str(run))

    if not removable:
        monkeypatch.setattr(writer, "clear_left_overs", fail)
    plane = Plane(tmp_path)
    plane.coordinator.lease("a")
    plane.push("a", range(4))
    failures = fail_saves(monkeypatch, plane, numbers)
    plane.coordinator.finish()
    status = plane.coordinator.status()
    assert (status.saved, status.passing) == (saved, errno.EIO in numbers)
    assert [info.step for info in list_checkpoints(tmp_path)] == saved
    assert failures == []


def fail_saves(monkeypatch, plane, numbers):
    """Has saving fail with each of the errors, after a part was written, before it succeeds; those
    that are to come."""
    failures, save = list(numbers), plane.local.save

    def failing(paths, version):
        if not failures:
            return save(paths, version)
        paths[0].write_bytes(b"a part")
        number = failures.pop(0)
        raise OSError(number, os.strerror(number), str(paths[1]))

    monkeypatch.setattr(plane.local, "save", failing)
    return failures


def test_so_is_that_of_one_whose_files_are_being_written_when_training_ends(tmp_path):
    plane = Plane(tmp_path, checkpoint_every=4)
    plane.coordinator.lease("a")
    plane.push("a", range(4))
    shutil.rmtree(tmp_path / "checkpoints")
    plane.coordinator.finish()
    assert plane.coordinator.status().saved == [1]


def test_a_full_disk_is_not_filled_again(tmp_path):
    plane = Plane(tmp_path, checkpoint_every=4)
    plane.coordinator.lease("a")
    with no_file_larger_than(100):
        plane.push("a", range(4))
    plane.coordinator.finish()
    status = plane.coordinator.status()
    assert (status.saved, status.passing) == ([], False)
    assert "File too large; raise the limit" in (status.failure or "")


@pytest.mark.parametrize(("cause", "saved"), [("bad record", [1]), ("NaN", [])])
def test_a_failed_run_saves_what_is_sound(tmp_path, cause, saved):
    """After too many NaN gradients its weights may be what failed."""
    limits = FailureConfig.model_validate({"max_bad_records": 0, "max_rejected_gradients": 0})
    plane = Plane(tmp_path, failures=limits)
    plane.coordinator.lease("a")
    plane.push("a", range(4))
    if cause == "NaN":
        plane.push("a", [4], np.nan)
    else:
        plane.coordinator.report_bad_record("a", BadRecordReport(4, "file", 0, ""))
    plane.coordinator.finish()
    assert [info.step for info in list_checkpoints(tmp_path)] == saved


def test_the_last_checkpoint_does_not_wait_for_workers(plane, tmp_path):
    """One is still at a gradient: its records are to be dealt again."""
    plane.coordinator.lease("a")
    plane.push("a", range(4))
    late = plane.stage("a", range(4, 8), 1.0)
    plane.coordinator.finish()
    ledger = read_manifest(checkpoint_path(tmp_path, 1)).ledger
    assert ledger.undone == ((4, 8),)
    assert plane.coordinator.commit(*late) is None, "it is told to stop"


def test_workers_that_say_nothing_are_named(tmp_path):
    """The clock of these tests goes on by one with each look at it."""
    plane = Plane(tmp_path, failures=FailureConfig(worker_silence_seconds=12))
    plane.coordinator.worker_started("busy")
    plane.coordinator.worker_started("hung")
    for _ in range(10):
        plane.coordinator.snapshot("busy")
    assert plane.coordinator.status().silent_workers == []
    plane.coordinator.snapshot("busy")
    plane.coordinator.snapshot("busy")
    status = plane.coordinator.status()
    assert status.silent_workers == ["hung"]
    assert status.heard["hung"] > 12 > status.heard["busy"]
    plane.coordinator.worker_ended("hung", "killed")
    assert plane.coordinator.status().silent_workers == []
    assert list(plane.coordinator.status().heard) == ["busy"]


class Hands:
    """A clock that a test sets."""

    now = 0.0

    def __call__(self):
        return self.now


def test_time_in_which_the_coordinator_was_stopped_is_no_silence_of_workers(tmp_path):
    clock = Hands()
    plane = Plane(tmp_path, failures=FailureConfig(worker_silence_seconds=60), clock=clock)
    plane.coordinator.worker_started("busy")
    plane.coordinator.worker_started("hung")
    for clock.now in range(50):  # a status each second, and a word of one worker
        assert plane.coordinator.status().silent_workers == []
        plane.coordinator.snapshot("busy")
    clock.now += 3600  # stopped, while all said nothing that it could hear
    assert plane.coordinator.status().silent_workers == [], "the hour is not theirs"
    silent = []
    for clock.now in range(3660, 3720):
        plane.coordinator.snapshot("busy")
        silent.append(plane.coordinator.status().silent_workers)
    assert silent[0] == [], "a worker has what was left of its time"
    assert silent[-1] == ["hung"], "and who really hangs is found all the same"
    assert ["busy"] not in silent


def test_workers_that_are_excused_have_all_their_time_again(tmp_path):
    clock = Hands()
    plane = Plane(tmp_path, failures=FailureConfig(worker_silence_seconds=60), clock=clock)
    plane.coordinator.worker_started("a")
    silent = []
    for clock.now in range(150):
        silent.append(plane.coordinator.status().silent_workers)
        if clock.now == 70:
            plane.coordinator.excuse_silence()
    assert silent.index(["a"]) == 61
    assert silent[71:131] == [[]] * 60
    assert silent[140] == ["a"]


def test_many_stops_are_no_silence_either(tmp_path):
    clock = Hands()
    plane = Plane(tmp_path, failures=FailureConfig(worker_silence_seconds=60), clock=clock)
    plane.coordinator.worker_started("a")
    for _ in range(20):
        clock.now += 100
        assert plane.coordinator.status().silent_workers == []
        plane.coordinator.snapshot("a")


def test_a_share_is_of_what_was_seen_since_the_resume(tmp_path):
    plane = Plane(tmp_path, total=40, checkpoint_every=8)
    plane.work(most=4)
    plane.coordinator.finish()
    limits = FailureConfig.model_validate({"max_bad_records": {"floor": 0, "share": 0.5}})
    resumed = Plane(tmp_path, total=40, resume=4, failures=limits)
    lease = resumed.coordinator.lease("a")
    assert lease is not None
    start, _ = lease
    resumed.push("a", [start])
    for position in (start + 1, start + 2):
        assert resumed.failure() == ""
        bad = BadRecordReport(position, "file", 0, "")
        resumed.coordinator.report_bad_record("a", bad)
    assert "which is 1 by now, after 3 records" in resumed.failure()


def test_gradients_are_a_share_of_all_that_were_pushed(tmp_path):
    limits = FailureConfig.model_validate({"max_rejected_gradients": {"floor": 0, "share": 0.5}})
    plane = Plane(tmp_path, failures=limits)
    plane.coordinator.lease("a")
    for position, gradient in enumerate([1.0, np.nan, 1.0, np.nan]):
        plane.push("a", [position], gradient)
        assert plane.failure() == ""
    assert plane.push("a", [4], np.nan) is None
    assert "which is 2 by now, after 5 gradients" in plane.failure()


def _assert_same_state(mine, its):
    for shard in range(2):
        left, right = load_shard(mine, shard, 2).vectors(), load_shard(its, shard, 2).vectors()
        assert left.keys() == right.keys()
        for name, vector in left.items():
            np.testing.assert_array_equal(vector, right[name])
