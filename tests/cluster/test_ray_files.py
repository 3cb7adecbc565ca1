"""The folder and the token of a cluster on this machine, without the cluster."""

import fcntl
import os
import tempfile
import time
from pathlib import Path

import pytest

from manylabel.cluster import ray_files
from manylabel.cluster.errors import ClusterError
from manylabel.cluster.ray_files import private_ray_files

HOUR_AGO = time.time() - 3600


@pytest.fixture(autouse=True)
def parent(monkeypatch):
    """A folder for temporary files, with a path that is short enough; the user has set nothing."""
    for name in ("RAY_TMPDIR", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    with tempfile.TemporaryDirectory(prefix="", dir="/tmp") as folder:
        monkeypatch.setattr(tempfile, "tempdir", folder)
        yield Path(folder)


def mode(path):
    return path.stat().st_mode & 0o777


def test_only_this_user_can_enter_and_read(parent):
    before = os.umask(0)
    try:
        with private_ray_files() as arguments:
            token = Path(os.environ["RAY_AUTH_TOKEN_PATH"])
            assert mode(token) == 0o600
            assert len(token.read_text()) == 64
            assert mode(token.parent) == 0o700
            assert token.parent.parent == parent
            assert arguments == {"_temp_dir": str(token.parent / "ray")}
    finally:
        os.umask(before)
    assert list(parent.iterdir()) == []
    assert "RAY_AUTH_TOKEN_PATH" not in os.environ


def test_the_paths_of_sockets_are_short_enough(parent):
    with private_ray_files() as arguments:
        below = f"{arguments['_temp_dir'].removeprefix(str(parent))}/session_2026-01-01_00-00-00_"
    longest = "x" * ray_files._LONGEST_PARENT + below + "000000_4194304/sockets/plasma_store"
    assert len(longest) <= 107


def test_a_long_tmpdir_is_left_for_tmp(parent, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(parent / ("long" * 10)))
    with private_ray_files() as arguments:
        assert Path(arguments["_temp_dir"]).parents[1] == Path("/tmp")


def test_no_folder_for_temporary_files_is_told_in_a_line(parent, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere")
    with pytest.raises(ClusterError, match=r"/nowhere.*set TMPDIR"), private_ray_files():
        pass


def test_what_the_user_has_chosen_wins(monkeypatch):
    monkeypatch.setenv("RAY_TMPDIR", "/elsewhere")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "secret")
    with private_ray_files() as arguments:
        assert arguments == {}
        assert "RAY_AUTH_TOKEN_PATH" not in os.environ
    monkeypatch.delenv("RAY_AUTH_TOKEN")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", "/mine")
    with private_ray_files():
        assert os.environ["RAY_AUTH_TOKEN_PATH"] == "/mine"
    assert os.environ["RAY_AUTH_TOKEN_PATH"] == "/mine"


def fail(parent):
    """Leaves the folder of a run that failed."""
    before = set(parent.iterdir())
    with pytest.raises(KeyboardInterrupt), private_ray_files():
        raise KeyboardInterrupt
    (left,) = set(parent.iterdir()) - before
    return left


def test_what_a_failed_or_killed_run_left_is_there_until_the_next(parent):
    left = fail(parent)
    os.utime(left, (HOUR_AGO, HOUR_AGO))
    with private_ray_files() as arguments:
        assert list(parent.iterdir()) == [Path(arguments["_temp_dir"]).parent]


def test_the_folders_of_other_runs_stay(parent):
    running, starting, foreign = fail(parent), fail(parent), parent / "manylabel-ray-of-mine"
    foreign.mkdir()  # without a lock: not ours
    for folder in (running, foreign):
        os.utime(folder, (HOUR_AGO, HOUR_AGO))
    with (running / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with private_ray_files():
            assert {running, starting, foreign} < set(parent.iterdir())
