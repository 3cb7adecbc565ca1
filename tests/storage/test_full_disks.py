"""What is told of storage that takes no more, whoever met it: real limits, real libraries."""

import errno
import json
import os
import pickle
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from manylabel.storage.atomic import create, replace_text, replacing
from manylabel.storage.documents import Document
from manylabel.storage.errors import StorageError, reason_of
from manylabel.storage.event_file import EventFile
from manylabel.storage.full_disks import account, refused, told, writing
from manylabel.storage.tables import write_table
from tests._file_sizes import no_file_larger_than

LARGE = pa.table({"x": np.random.default_rng(0).random(20_000)})
FULL = "No space left on device"


class Note(Document):
    format_version: int = 1
    text: str


def stream(path):
    with replacing(path) as file:
        for _ in range(100):
            file.write(bytes(1000))


@pytest.mark.parametrize(
    "write",
    [
        stream,
        lambda path: replace_text(path, "text" * 5000),
        lambda path: create(path, bytes(20_000)),
        lambda path: write_table(path, LARGE),
        lambda path: Note(text="text" * 5000).write(path),
    ],
    ids=["replacing", "replace_text", "create", "table", "document"],
)
@pytest.mark.parametrize("size", [0, 4096])
def test_a_file_that_does_not_fit_is_named_and_nothing_of_it_stays(tmp_path, write, size):
    path = tmp_path / "folder" / "file"
    with no_file_larger_than(size), pytest.raises(OSError, match="File too large") as caught:
        write(path)
    assert caught.value.filename == str(path)
    assert list(path.parent.iterdir()) == []
    write(path)
    assert os.listdir(path.parent) == ["file"]


def test_what_was_there_stays(tmp_path):
    path = tmp_path / "file"
    write_table(path, LARGE[:5])
    before = path.read_bytes()
    with no_file_larger_than(4096), pytest.raises(OSError, match="File too large"):
        write_table(path, LARGE)
    assert path.read_bytes() == before


def test_a_file_that_is_cut_short_where_there_are_no_links_does_not_stay(tmp_path, monkeypatch):
    """A file system without hard links is full when the second copy is written."""
    path = tmp_path / "0001.json"
    file_size = no_file_larger_than(4096)

    def refuse(source, target):
        file_size.__enter__()
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP), source, None, target)

    monkeypatch.setattr(os, "link", refuse)
    with pytest.raises(OSError, match="File too large"):
        create(path, bytes(20_000))
    file_size.__exit__(None, None, None)
    assert list(tmp_path.iterdir()) == []


def test_events_name_their_file(tmp_path):
    with (
        no_file_larger_than(0),
        pytest.raises(OSError, match="File too large") as caught,
        EventFile(tmp_path) as events,
    ):
        events.add(1, {"loss": 1.0})
    assert os.path.dirname(caught.value.filename) == str(tmp_path)


def to_numpy(path):
    np.zeros(10_000).tofile(path)


def to_archive(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("member", os.urandom(20_000))


def to_hdf5(path):
    with h5py.File(path, "w") as file:
        file["x"] = np.zeros(100_000)


def to_arrow(path):
    pq.write_table(LARGE, str(path))


@pytest.mark.parametrize("write", [to_numpy, to_archive, to_hdf5, to_arrow])
def test_whatever_a_library_makes_of_it_is_recognised(tmp_path, write):
    path = tmp_path / "file"
    with no_file_larger_than(4096), pytest.raises(OSError, match=r".") as caught, writing(path):
        write(path)
    assert caught.value.errno in (errno.EFBIG, errno.ENOSPC)
    assert caught.value.filename == str(path)


def test_the_device_that_is_always_full_is_recognised():
    with (
        pytest.raises(OSError, match=FULL) as caught,
        writing("/dev/full"),
        open("/dev/full", "wb") as file,
    ):
        np.savez(file, x=np.zeros(100))
    assert caught.value.filename == "/dev/full"


class TaskError(RuntimeError):
    """As Ray's: what was raised on another node is its cause."""

    cause: Exception | None = None


def found_in(error):
    refusal = refused(error)
    assert refusal is not None
    return refusal.errno, refusal.filename


class TestOrigin:
    """Found behind what was made of it, on the way through other processes too."""

    full = OSError(errno.ENOSPC, FULL, "/far/file")

    def test_a_cause_is_found(self):
        error = RuntimeError("a step failed")
        error.__cause__ = self.full
        assert found_in(error) == (errno.ENOSPC, "/far/file")

    def test_one_that_another_process_raised_is_found(self):
        error = TaskError("a task failed")
        error.cause = pickle.loads(pickle.dumps(self.full))
        assert found_in(error) == (errno.ENOSPC, "/far/file")

    @pytest.mark.parametrize("kind", [TaskError, RuntimeError, StorageError, OSError])
    def test_a_text_alone_is_found(self, kind):
        assert found_in(kind(f"disk/a; {FULL} [Op:SaveV2]")) == (errno.ENOSPC, None)
        assert found_in(kind("Read-only file system")) == (errno.EROFS, None)

    @pytest.mark.parametrize("kind", [KeyError, TypeError, AssertionError, json.JSONDecodeError])
    def test_a_mistake_made_while_one_is_handled_is_none(self, kind):
        error = kind(FULL, "", 0) if kind is json.JSONDecodeError else kind(FULL)
        error.__context__ = self.full
        assert refused(error) is None
        far = TaskError(
            f"OSError: {FULL}\n\nDuring handling of the above exception, another "
            "exception occurred:\n\nKeyError: 'a'"
        )
        far.cause = error
        assert refused(far) is None

    @pytest.mark.parametrize("kind", [TaskError, RuntimeError, OSError])
    def test_what_a_library_raised_while_it_handled_one_is_found(self, kind):
        error = kind("not closed")
        error.__context__ = self.full
        assert found_in(error) == (errno.ENOSPC, "/far/file")

    def test_an_error_that_names_the_file_tells_more(self):
        error = OSError(errno.ENOSPC, FULL)
        error.__context__ = self.full
        assert found_in(error) == (errno.ENOSPC, "/far/file")

    @pytest.mark.parametrize(
        "error", [ValueError("one"), FileNotFoundError(2, "No such file", "a"), OSError("odd")]
    )
    def test_others_are_none(self, error):
        assert refused(error) is None

    def test_errors_in_a_circle_end(self):
        one, other = ValueError("one"), ValueError("other")
        one.__cause__, other.__cause__ = other, one
        assert refused(one) is None


class TestLine:
    @pytest.mark.parametrize("name", [b"/far/file", Path("/far/file")])
    def test_a_name_may_be_bytes_or_a_path(self, name):
        error = OSError(errno.ENOSPC, FULL, name)
        assert account(error).startswith(f"/far/file: {FULL}: /")
        with pytest.raises(OSError, match=FULL) as caught, writing("/other"):
            raise error
        assert caught.value.filename == "/far/file"

    def test_a_descriptor_names_nothing(self):
        error = OSError(errno.ENOSPC, FULL, 3)
        assert reason_of(error) == account(error) == FULL
        with pytest.raises(OSError, match=FULL) as caught, writing("/far/file"):
            raise error
        assert caught.value.filename == "/far/file"

    def test_it_names_the_file_the_disk_and_what_to_do(self, tmp_path):
        line = told(OSError(errno.ENOSPC, FULL, str(tmp_path / "gone" / "file")))
        assert line.startswith(f"{tmp_path}/gone/file: {FULL}: /")
        assert " free; make room there, then give the same command again" in line
        assert "\n" not in line

    def test_the_disk_is_the_one_that_the_file_lies_on(self):
        assert ": /dev/shm has " in account(OSError(errno.ENOSPC, FULL, "/dev/shm/a/b"))

    def test_a_relative_path_stays_as_it_was_given(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        assert account(OSError(errno.ENOSPC, FULL, "out/a")).startswith(f"out/a: {FULL}: /")

    def test_object_storage_has_no_disk(self):
        assert account(OSError(errno.ENOSPC, FULL, "s3://a/b")) == f"s3://a/b: {FULL}"

    def test_a_limit_and_a_disk_that_is_read_only_have_their_own_advice(self, tmp_path):
        path = str(tmp_path)
        assert "ulimit -f" in told(OSError(errno.EFBIG, "File too large", path))
        line = told(OSError(errno.EROFS, "Read-only file system", path))
        assert "mount it so that it can be written" in line
        assert " free" not in line

    def test_where_nothing_is_named_full_disks_are(self):
        """/proc has no room at all."""
        line = told(OSError(errno.ENOSPC, FULL), ["/proc/self/gone", "/dev/shm", "--output"])
        assert "/proc has 0 bytes of 0 bytes free" in line
        assert "df -h" in told(OSError(errno.ENOSPC, FULL), [])

    def test_a_reason_is_the_same_without_the_number(self, tmp_path):
        error = OSError(errno.ENOSPC, FULL, str(tmp_path))
        assert reason_of(error) == account(error)
        assert "Errno" not in reason_of(error)
