"""What is told of an error that says nothing itself."""

import asyncio

import pytest
from upath import UPath

from manylabel.storage.errors import UnreachableTableError, described, reason_of
from manylabel.storage.tables import read_table


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (TimeoutError(), "TimeoutError"),
        (asyncio.CancelledError(), "CancelledError"),
        (MemoryError(), "MemoryError"),
        (ConnectionResetError("  \n "), "ConnectionResetError"),
        (ValueError("one\n two"), "one two"),
        (OSError("no type \x0e \x1b[2J"), r"no type \x0e \x1b[2J"),
        (OSError(5, "Input/output error", "/far"), "[Errno 5] Input/output error: '/far'"),
    ],
)
def test_each_has_a_reason_of_one_line(error, told):
    assert reason_of(error) == told


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (AssertionError(), "AssertionError"),
        (TimeoutError(), "TimeoutError"),
        (MemoryError(), "MemoryError"),
        (KeyError("x"), "KeyError: 'x'"),
        (ValueError("one\n two"), "ValueError: one two"),
    ],
)
def test_each_is_described_on_one_line(error, told):
    assert described(error) == told


def test_a_table_on_storage_that_does_not_answer_says_so(tmp_path, monkeypatch):
    def open_(self, *arguments, **options):
        raise TimeoutError

    monkeypatch.setattr(type(UPath(tmp_path)), "open", open_)
    with pytest.raises(UnreachableTableError, match=r"a\.parquet: cannot be read now: TimeoutErr"):
        read_table(tmp_path / "a.parquet")
