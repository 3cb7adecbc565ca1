"""What every executor promises, whoever does the work."""

import errno
import itertools
import os

import pytest

from manylabel.preprocessing.executors import Executor


def gives_results_in_order(executor: Executor) -> None:
    """Whatever the size of batches."""
    for batch in (1, 7, 1000):
        assert list(executor.map(str, range(200), batch)) == [str(item) for item in range(200)]
        assert list(executor.map(str, [], batch)) == []


def reads_ahead(executor: Executor, at_most: int) -> None:
    """So many items of an endless number, in batches of ten."""
    read = itertools.count()
    results = executor.map(str, read, 10)
    for fetched in range(100):
        assert next(results) == str(fetched)
    assert next(read) <= 100 + at_most
    results.close()


def raises_at_its_turn(executor: Executor) -> FileNotFoundError:
    """What the function raised for an item, with its type; the executor still works."""
    results = executor.map(os.listdir, ["/", "/nowhere", "/"], 3)
    assert next(results) == os.listdir("/")
    with pytest.raises(FileNotFoundError) as raised:
        next(results)
    assert (raised.value.filename, raised.value.errno) == ("/nowhere", errno.ENOENT)
    assert list(executor.map(str, [1], 1)) == ["1"]
    return raised.value
