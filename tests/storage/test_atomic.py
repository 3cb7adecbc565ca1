"""A reader sees the old file or the new one, never a part."""

import errno
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest.mock import Mock

import pytest
from upath import UPath

from manylabel.storage.atomic import create, replace_text, replacing


def test_the_file_appears_at_the_end(tmp_path):
    path = UPath(tmp_path) / "new" / "file"
    with replacing(path) as file:
        file.write(b"content")
        assert not path.exists()
    assert path.read_bytes() == b"content"
    assert list(path.parent.iterdir()) == [path]


def test_whoever_reads_the_old_file_goes_on_reading_it(tmp_path):
    path = UPath(tmp_path) / "file"
    path.write_bytes(b"old")
    with path.open("rb") as reader:
        with replacing(path) as file:
            file.write(b"new")
            assert path.read_bytes() == b"old"
        assert path.read_bytes() == b"new"
        assert reader.read() == b"old"


def test_after_an_error_everything_is_as_before(tmp_path):
    path = UPath(tmp_path) / "file"
    path.write_bytes(b"old")

    def fail_halfway():
        with replacing(path) as file:
            file.write(b"half")
            raise KeyError("halfway")

    with pytest.raises(KeyError, match="halfway"):
        fail_halfway()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_text_is_replaced_whole(tmp_path):
    path = tmp_path / "run.json"
    path.write_text("old")
    replace_text(path, "néw")
    assert path.read_text(encoding="utf-8") == "néw"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_named(tmp_path):
    path = tmp_path / "file"
    with pytest.raises(OSError, match="No space left") as error, replacing(path):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert error.value.filename == str(path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("write", [replace_text, lambda path, text: create(path, text.encode())])
def test_on_a_disk_that_turned_read_only_the_file_is_named(tmp_path, monkeypatch, write):
    """Linux then refuses to remove the temporary file too, even where there is none."""

    def refuse(path, *_, **__):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    monkeypatch.setattr(os, "unlink", refuse)
    monkeypatch.setattr(os, "rename", refuse)
    monkeypatch.setattr(os, "link", refuse)
    path = tmp_path / "file"
    with pytest.raises(OSError, match="Read-only") as error:
        write(path, "text")
    assert error.value.filename == str(path)


def test_of_many_that_create_a_file_one_succeeds(tmp_path):
    path = tmp_path / "new" / "0001.json"
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda n: create(path, b"%d" % n * 1000), range(8)))
    assert sum(made) == 1
    assert path.read_bytes() == b"%d" % made.index(True) * 1000
    assert list(path.parent.iterdir()) == [path]


def test_a_file_is_created_where_there_are_no_hard_links(tmp_path, monkeypatch):
    monkeypatch.setattr("os.link", Mock(side_effect=OSError(errno.EPERM, "not permitted")))
    assert create(tmp_path / "0001.json", b"first")
    assert not create(tmp_path / "0001.json", b"second")
    assert (tmp_path / "0001.json").read_bytes() == b"first"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_full_disk_is_named_when_a_file_is_created(tmp_path, monkeypatch):
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    monkeypatch.setattr(Path, "write_bytes", Mock(side_effect=full))
    with pytest.raises(OSError, match="No space left") as error:
        create(tmp_path / "0001.json", b"content")
    assert error.value.filename == str(tmp_path / "0001.json")


def test_what_is_no_file_is_not_replaced_by_one(tmp_path):
    """A rename over /dev/full would leave a file there, for every program of the machine."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with pytest.raises(FileExistsError, match="Expected a file to replace"), replacing(path):
        pass
    assert path.is_fifo()
    assert list(tmp_path.iterdir()) == [path]
