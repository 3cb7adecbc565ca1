"""/dev/shm of a container, 64 MiB unless its user asks for more; none is mounted here."""

import logging
import os
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest
from ray.exceptions import OutOfDiskError

from manylabel.cluster.errors import ClusterError
from manylabel.cluster.shared_memory import check_room, full_here, tell_if_store_is_on_disk


@pytest.fixture
def free(monkeypatch):
    """free(mebibytes): of /dev/shm."""

    def replace(mebibytes):
        monkeypatch.setattr(os, "statvfs", {"/dev/shm": status_of(mebibytes)}.__getitem__)

    return replace


def status_of(mebibytes):
    return SimpleNamespace(f_bavail=mebibytes * 256, f_bsize=4096)


def test_a_store_that_does_not_fit_is_told_in_a_line(free, caplog):
    free(64)
    tell_if_store_is_on_disk(256 * 2**20)
    ((_, level, line),) = caplog.record_tuples
    assert level == logging.WARNING
    assert line.startswith("/dev/shm has 64 MiB free, and Ray's object store takes 256 MiB")
    assert "--shm-size=320m" in line
    assert "\n" not in line


def test_one_that_fits_is_not_worth_a_word(free, caplog):
    free(256)
    tell_if_store_is_on_disk(256 * 2**20)
    assert caplog.records == []


@pytest.mark.parametrize(
    ("shared", "folder", "enough"),
    [(512, 16, True), (512, 15, False), (64, 271, False), (64, 272, True)],
)
def test_the_disk_of_ray_s_folder_must_hold_what_shared_memory_does_not(
    monkeypatch, shared, folder, enough
):
    """A process that writes where there is no room any more is ended, without a word."""
    sizes = {"/dev/shm": shared, "/scratch": folder}
    monkeypatch.setattr(os, "statvfs", lambda path: status_of(sizes[str(path)]))
    begin = "^/scratch: No space left on device for Ray's files: "
    problem = pytest.raises(ClusterError, match=begin)
    with nullcontext() if enough else problem:
        check_room(Path("/scratch"), 256 * 2**20)


def test_ray_s_own_word_for_a_full_disk_is_one():
    assert "Ray's object store has no room" in full_here(OutOfDiskError())
    assert full_here() == ""
