"""/dev/shm of a container, 64 MiB unless its user asks for more; none is mounted here."""

import logging
import os
from types import SimpleNamespace

import pytest

from manylabel.cluster.shared_memory import tell_if_store_is_on_disk


@pytest.fixture
def free(monkeypatch):
    """free(mebibytes): of /dev/shm."""

    def replace(mebibytes):
        status = SimpleNamespace(f_bavail=mebibytes * 256, f_bsize=4096)
        monkeypatch.setattr(os, "statvfs", {"/dev/shm": status}.__getitem__)

    return replace


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
