"""What a run is doing, from its files alone; and files that are read once."""

import json
import os
import threading
from datetime import UTC, datetime, timedelta

import pytest

from manylabel.deploy.dashboard.errors import Problems
from manylabel.deploy.dashboard.reading import Store
from manylabel.deploy.dashboard.states import Doing, run_state

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)


@pytest.fixture
def store(folder):
    return Store(folder.root, lambda: NOW)


def state_of(store, folder, name, quiet):
    path = folder.root / name / "metrics.jsonl"
    moment = (NOW - quiet).timestamp()
    os.utime(path, (moment, moment))
    problems = Problems()
    state = run_state(store, name, problems)
    assert problems.found == ()
    return state


@pytest.mark.parametrize(
    ("done", "quiet", "doing"),
    [
        (0.5, timedelta(minutes=1), Doing.LIVE),
        (0.5, timedelta(hours=1), Doing.STOPPED),
        (1.0, timedelta(minutes=1), Doing.DONE),
        (1.0, timedelta(days=9), Doing.DONE),
    ],
)
def test_a_run_trains_has_finished_or_has_stopped(store, folder, done, quiet, doing):
    folder.make_dataset()
    folder.add_run("run", 12, epochs_done=done)
    state = state_of(store, folder, "run", quiet)
    assert state.doing is doing
    assert state.share == pytest.approx(done, abs=0.01)


def test_without_its_dataset_a_run_has_a_state_and_no_share(store, folder):
    folder.add_run("run", 12)
    state = state_of(store, folder, "run", timedelta(days=1))
    assert (state.doing, state.share) == (Doing.STOPPED, None)


def test_a_run_that_writes_rarely_is_given_time(store, folder):
    """20 updates of 128 images at 5 images/s: a row every 8.5 minutes."""
    folder.add_run("slow", 12)
    path = folder.root / "slow" / "metrics.jsonl"
    rows = [json.loads(line) | {"images_per_second": 5.0} for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert state_of(store, folder, "slow", timedelta(minutes=20)).doing is Doing.LIVE
    assert state_of(store, folder, "slow", timedelta(minutes=30)).doing is Doing.STOPPED


def test_before_the_first_row_a_run_has_not_started(store, folder):
    folder.add_run("run", 0)
    (folder.root / "run" / "metrics.jsonl").unlink()
    assert run_state(store, "run", Problems()).doing is Doing.UNSTARTED


def test_a_file_is_read_once_until_it_changes(store, folder):
    path = folder.root / "file"
    reads = []

    def read(path):
        reads.append(path)
        return path.read_text()

    path.write_text("one")
    assert [store.cached(path, read) for _ in range(3)] == ["one"] * 3
    assert len(reads) == 1
    other = folder.root / "other"
    other.write_text("two")
    other.rename(path)  # As everything here is written.
    assert store.cached(path, read) == "two"
    assert len(reads) == 2


def test_what_cannot_be_read_is_tried_again(store, folder):
    path = folder.root / "file"
    path.write_text("x")
    with pytest.raises(ValueError, match="broken"):
        store.cached(path, broken)
    path_was_read = store.cached(path, str)
    assert path_was_read == str(path)
    with pytest.raises(FileNotFoundError):
        store.cached(folder.root / "none", str)


def broken(path):
    raise ValueError("broken")


def test_any_number_of_threads_may_read(store, folder):
    path = folder.root / "file"
    path.write_text("x" * 1000)
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(store.cached(path, lambda p: p.read_text())))
        for _ in range(16)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == ["x" * 1000] * 16
