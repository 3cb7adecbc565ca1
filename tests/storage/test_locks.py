"""One writer or several readers."""

import threading
import time
from pathlib import Path

import pytest

from manylabel.storage.locks import shared, sole_holder, sole_user


def test_one_holder_at_a_time(tmp_path):
    with (
        sole_holder(tmp_path / "new" / "lock"),
        pytest.raises(BlockingIOError),
        sole_holder(tmp_path / "new" / "lock"),
    ):
        pass
    with sole_holder(tmp_path / "new" / "lock"):
        pass


def test_who_waits_has_it_after_the_other(tmp_path):
    order = []

    def second():
        with sole_holder(tmp_path / "lock", wait=True):
            order.append("second")

    with sole_holder(tmp_path / "lock"):
        thread = threading.Thread(target=second)
        thread.start()
        thread.join(timeout=0.2)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]


def test_who_waited_for_a_lock_that_was_removed_holds_the_one_that_is_there(tmp_path):
    """Else a third would make a file of its own, and both would be the only one."""
    path = tmp_path / "folder" / "lock"
    held = threading.Event()
    let_go = threading.Event()

    def second():
        with sole_holder(path, wait=True):
            held.set()
            let_go.wait(10)

    with sole_holder(path):
        thread = threading.Thread(target=second)
        thread.start()
        while not _is_waited_for(path):
            time.sleep(0.001)
        path.unlink()
        path.parent.rmdir()
    assert held.wait(10)
    with pytest.raises(BlockingIOError), sole_holder(path):
        pass
    let_go.set()
    thread.join()


def _is_waited_for(path):
    """Whether somebody waits for its lock: a line of /proc/locks that begins with an arrow."""
    inode = path.stat().st_ino
    lines = Path("/proc/locks").read_text("utf-8").splitlines()
    return any(" -> " in line and f":{inode} " in line for line in lines)


def test_users_share_and_keep_a_sole_one_out(tmp_path):
    path = tmp_path / "manifest.json"
    path.write_text("{}")
    path.chmod(0o444)
    with shared(path), shared(path):
        with pytest.raises(BlockingIOError), sole_user(path):
            pass
        assert path.read_text() == "{}"
    with sole_user(path):
        with pytest.raises(BlockingIOError), shared(path):
            pass
        path.unlink()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("use", [shared, sole_user])
def test_what_is_not_there_is_not_made(tmp_path, use):
    with pytest.raises(FileNotFoundError), use(tmp_path / "manifest.json"):
        pass
    assert list(tmp_path.iterdir()) == []
