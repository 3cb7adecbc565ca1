"""One writer or several readers."""

import pytest

from manylabel.storage.locks import shared, sole_holder


def test_one_holder_at_a_time(tmp_path):
    with sole_holder(tmp_path / "new" / "lock"):
        with pytest.raises(BlockingIOError), sole_holder(tmp_path / "new" / "lock"):
            pass
        with pytest.raises(BlockingIOError), shared(tmp_path / "new" / "lock"):
            pass
    with sole_holder(tmp_path / "new" / "lock"):
        pass


def test_readers_share_and_keep_the_holder_out(tmp_path):
    path = tmp_path / "manifest.json"
    path.write_text("{}")
    path.chmod(0o444)
    with shared(path), shared(path):
        with pytest.raises(BlockingIOError), sole_holder(path):
            pass
        assert path.read_text() == "{}"
    with sole_holder(path):
        pass


def test_what_is_not_there_is_not_made_for_reading(tmp_path):
    with pytest.raises(FileNotFoundError), shared(tmp_path / "manifest.json"):
        pass
    assert list(tmp_path.iterdir()) == []
