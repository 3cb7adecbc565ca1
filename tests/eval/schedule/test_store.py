"""Records on disk: claimed once, renewed by their owner, damaged ones named."""

import fcntl
import multiprocessing
import os
import time
from datetime import UTC, datetime, timedelta

import pytest

from manylabel.eval.schedule.config import ScheduleConfig
from manylabel.eval.schedule.decision import Act, Decision
from manylabel.eval.schedule.records import Outcome, checkpoint_key, time_key
from manylabel.eval.schedule.store import FireStore
from manylabel.storage.errors import DocumentError

NOW = datetime(2026, 5, 4, 2, tzinfo=UTC)
CRON = ScheduleConfig(when="0 2 * * *")
NEW = ScheduleConfig(when="new_checkpoint")


def start(key="20260504T020000Z", before=None, schedule="nightly"):
    return Decision(schedule, Act.START, "due", key, NOW, before=before).record(NOW, "here", 1)


@pytest.fixture
def store(tmp_path):
    return FireStore(tmp_path)


def test_a_record_is_claimed_once(store, tmp_path):
    assert store.claim(start())
    assert not store.claim(start().model_copy(update={"pid": 2}))
    (record,) = store.fires("nightly", CRON)
    assert record == start()
    (path,) = (tmp_path / "schedule" / "fires" / "nightly").iterdir()
    assert path.name == "20260504T020000Z.json"


def _claim(root, number, barrier, won):
    barrier.wait()
    if FireStore(root).claim(start().model_copy(update={"pid": number})):
        won.put(number)


def test_of_processes_that_claim_at_once_one_succeeds(tmp_path):
    context = multiprocessing.get_context("fork")
    for attempt in range(5):
        root, barrier, won = tmp_path / str(attempt), context.Barrier(6), context.Queue()
        workers = [
            context.Process(target=_claim, args=(root, number, barrier, won)) for number in range(6)
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        winner = won.get(timeout=5)
        assert won.empty()
        (record,) = FireStore(root).fires("nightly", CRON)
        assert record.pid == winner


def test_the_last_attempt_of_the_newest_fire_counts(store):
    record = None
    for attempt in range(1, 12):  # Ten and more, whose names do not sort by number.
        record = start(before=record)
        assert record.attempt == attempt
        store.claim(record)
    assert store.fires("nightly", CRON)[-1].attempt == 11
    newer = start("20260505T020000Z")
    store.claim(newer)
    assert store.fires("nightly", CRON) == [newer]
    assert [fire.attempt for fire in store.fires("nightly", NEW)] == [11, 1]


def test_the_record_that_was_written_last_is_found_without_reading_the_others(store):
    assert store.last_written("every") is None
    older, newer = (start(f"0000000{step}-ab", schedule="every") for step in (2, 1))
    store.claim(newer)
    store.claim(older)
    store.path(older).write_text("{")
    long_ago = time.time() - 60
    os.utime(store.path(older), (long_ago, long_ago))
    assert store.last_written("every") == newer


def test_a_record_is_renewed_in_its_place(store):
    store.claim(record := start())
    done = record.model_copy(update={"outcome": Outcome.DONE, "ended": NOW})
    store.renew(done)
    assert store.fires("nightly", CRON) == [done]


def test_other_files_are_no_records(store, tmp_path):
    store.claim(start())
    folder = tmp_path / "schedule" / "fires" / "nightly"
    for name in (
        "20260504T020000Z.log",
        "notes.txt.json.bak",
        "a b.json",
        f"x.json.{'0' * 32}.tmp",
    ):
        (folder / name).write_text("x")
    assert len(store.fires("nightly", NEW)) == 1


@pytest.mark.parametrize("content", [b"", b'{"format_version": 1, "sch', b'{"format_version": 9}'])
def test_a_damaged_record_is_named_with_what_to_do(store, content):
    store.claim(record := start())
    store.path(record).write_bytes(content)
    with pytest.raises(DocumentError, match="remove it, and what it is for is decided") as caught:
        store.fires("nightly", CRON)
    assert str(store.path(record)) in str(caught.value)


def test_a_cron_line_is_first_seen_once(store):
    assert store.known_since("nightly", CRON) is None
    assert store.since("nightly", CRON, NOW) == NOW
    assert store.since("nightly", CRON, NOW + timedelta(days=1)) == NOW
    assert store.known_since("nightly", CRON) == NOW
    changed = CRON.model_copy(update={"when": "0 3 * * *"})
    assert store.since("nightly", changed, NOW + timedelta(days=2)) == NOW + timedelta(days=2)


def test_a_cron_line_that_comes_back_is_seen_anew(store):
    store.since("nightly", CRON, NOW)
    store.since("hourly", CRON, NOW)
    store.forget_others([("hourly", CRON)])
    later = NOW + timedelta(days=30)
    assert store.since("nightly", CRON, later) == later
    assert store.since("hourly", CRON, later) == NOW


def test_one_process_of_a_host_works(store):
    with store.sole_worker("here"):
        with pytest.raises(BlockingIOError), store.sole_worker("here"):
            pass
        with store.sole_worker("there"):
            pass


def test_no_lock_is_left_behind(store, tmp_path):
    with store.sole_worker("pod-28e1"):
        assert (tmp_path / "schedule" / "pod-28e1.lock").exists()
    with pytest.raises(ZeroDivisionError), store.sole_worker("pod-28e2"):
        raise ZeroDivisionError
    assert list((tmp_path / "schedule").iterdir()) == []


def test_a_lock_that_was_removed_before_it_was_taken_is_taken_anew(store, tmp_path, monkeypatch):
    """As when the process before ends between the two steps of taking it."""
    path, flock, calls = tmp_path / "schedule" / "here.lock", fcntl.flock, []

    def late(file, operation):
        calls.append(operation)
        if len(calls) == 1:
            path.unlink()
        flock(file, operation)

    monkeypatch.setattr("fcntl.flock", late)
    with store.sole_worker("here"):
        assert len(calls) == 2
        with pytest.raises(BlockingIOError), store.sole_worker("here"):
            pass


def test_locks_of_hosts_that_are_gone_are_removed(store, tmp_path):
    (tmp_path / "schedule").mkdir()
    for host, days in (("gone", 8), ("asleep", 6), ("here", 9)):
        path = tmp_path / "schedule" / f"{host}.lock"
        path.touch()
        moment = time.time() - days * 24 * 3600
        os.utime(path, (moment, moment))
    with store.sole_worker("here"):
        names = {path.name for path in (tmp_path / "schedule").iterdir()}
    assert names == {"asleep.lock", "here.lock"}


def test_keys_sort_and_hold_any_name():
    paris = timedelta(hours=2)
    assert time_key(NOW) == "20260504T020000Z" < time_key(NOW + paris)
    odd = checkpoint_key("../a b" * 50, 1200, "d")
    assert odd.startswith("00001200-")
    assert len(odd) == 25
    assert odd != checkpoint_key("../a b" * 50, 1200, "e") != checkpoint_key("r", 1200, "e")
