"""One writer or several readers."""

import threading

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
