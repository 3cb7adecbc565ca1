"""What worker processes print, where the job keeps logs."""

import errno
from contextlib import closing
from pathlib import Path

import pytest

from manylabel.preprocessing.executors.processes import Processes
from manylabel.storage.jobs import LOGS_VARIABLE
from tests._file_sizes import no_file_larger_than


@pytest.fixture
def logs(tmp_path, monkeypatch):
    logs = tmp_path / "logs"
    monkeypatch.setenv(LOGS_VARIABLE, str(logs))
    return logs


def children():
    """What `/proc` says of processes that this one started and did not bury."""
    return {file.read_text() for file in Path("/proc/self/task").glob("*/children")} - {""}


def start():
    with closing(Processes(1)) as executor:
        list(executor.map(str, range(2), 1))


def test_each_says_that_it_is_at_work(logs):
    start()
    assert (logs / "worker-0.log").read_text().startswith("process ")


def test_a_folder_that_is_not_there_to_be_had_is_named(logs):
    logs.touch()
    with pytest.raises(FileExistsError, match=str(logs)):
        start()


def test_a_full_disk_is_named_and_what_was_started_is_ended(logs):
    before = children()
    with no_file_larger_than(0), pytest.raises(OSError, match=r"worker-0\.log") as told:
        start()
    assert told.value.errno == errno.EFBIG
    assert children() == before
