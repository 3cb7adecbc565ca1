"""Processes of our own. That they end with their parent, tests of the worker processes show."""

import os
import site

import pytest

from manylabel.storage import own_process
from manylabel.storage.errors import CorruptRecordError
from manylabel.storage.own_process import OwnProcess, portable, python_path

MAIN = """
def main(parent):
    import manylabel, sys
    parent.send((sys.path[0], manylabel.__file__))
"""


def test_it_imports_the_copy_of_us_that_this_process_has(tmp_path, monkeypatch):
    """Which may be found by what a notebook added to sys.path, beside another one installed."""
    copy = tmp_path / "manylabel"
    copy.mkdir()
    (copy / "__init__.py").touch()
    (copy / "asked.py").write_text(MAIN)
    (copy / "storage").symlink_to(os.path.dirname(own_process.__file__))
    monkeypatch.setattr(own_process, "_IMPORTED_FROM", str(tmp_path))
    with OwnProcess("manylabel.asked", os.environ) as process:
        assert process.connection.recv() == (str(tmp_path), str(copy / "__init__.py"))


@pytest.mark.parametrize(
    ("place", "before", "added"),
    [
        ("/clone/src", None, {"PYTHONPATH": "/clone/src"}),
        ("/clone/src", "/mine", {"PYTHONPATH": f"/clone/src{os.pathsep}/mine"}),
        ("/clone/src", f"/mine{os.pathsep}/clone/src", {}),
        (site.getsitepackages()[0], None, {}),  # It would hide modules of Python's own.
    ],
)
def test_where_it_looks_for_us(monkeypatch, place, before, added):
    monkeypatch.setattr(own_process, "_IMPORTED_FROM", place)
    assert python_path({} if before is None else {"PYTHONPATH": before}) == added


def test_one_that_cannot_begin_is_at_its_end(capfd):
    with OwnProcess("manylabel.storage.nothing", os.environ) as process:
        with pytest.raises(EOFError):
            process.connection.recv()
        process.send("nobody hears this")
        assert process.wait() == 1
    assert "No module named 'manylabel.storage.nothing'" in capfd.readouterr().err


def test_one_that_cannot_be_started_leaves_no_file_open(monkeypatch):
    before = os.listdir("/proc/self/fd")
    monkeypatch.setattr(own_process.sys, "executable", "/no/python")
    with pytest.raises(FileNotFoundError, match="/no/python"):
        OwnProcess("manylabel.storage.locks", os.environ)
    assert os.listdir("/proc/self/fd") == before


class OddError(Exception):
    def __init__(self, one, two):
        super().__init__(f"{one} and {two}")


def test_an_error_travels_as_it_is_or_by_its_text():
    corrupt = CorruptRecordError("a.tfrecord", 3, "cut")
    assert portable(corrupt) is corrupt
    told = portable(OddError(1, 2), ValueError)
    assert (type(told), str(told)) == (ValueError, "OddError: 1 and 2")


def test_one_that_does_not_end_is_waited_for_no_longer_than_was_said():
    with OwnProcess("manylabel.preprocessing.executors.worker", os.environ) as process:
        assert process.wait(0.01) is None
