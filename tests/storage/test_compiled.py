"""Compiled loops where nothing can be kept on disk."""

import errno
import os
from contextlib import nullcontext

import numpy as np
import pytest
from numba.core import caching

from manylabel.storage.compiled import compiled
from tests._file_sizes import no_file_larger_than


def double(values):
    for place in range(len(values)):
        values[place] *= 2


@pytest.mark.parametrize("parallel", [False, True])
def test_without_a_folder_for_the_cache_it_is_compiled_all_the_same(monkeypatch, parallel):
    """As in a container whose user can write neither the installation nor a home."""
    monkeypatch.setattr(caching.CacheImpl, "_locator_classes", [])
    loop = compiled(parallel=parallel)(double)
    values = np.arange(3.0)
    loop(values)
    assert values.tolist() == [0, 2, 4]
    assert loop.nopython_signatures


@pytest.mark.parametrize(
    ("number", "is_kept"), [(errno.EACCES, True), (errno.EROFS, True), (errno.EISDIR, False)]
)
def test_only_what_storage_refuses_is_passed_over(monkeypatch, tmp_path, number, is_kept):
    def refuse(*arguments):
        raise OSError(number, os.strerror(number), "cache")

    monkeypatch.setattr("numba.config.CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(caching.FunctionCache, "save_overload", refuse)
    loop = compiled()(double)
    values = np.arange(3.0)
    with nullcontext() if is_kept else pytest.raises(IsADirectoryError):
        loop(values)
        assert values.tolist() == [0, 2, 4]


def test_without_room_for_the_cache_it_is_compiled_all_the_same(monkeypatch, tmp_path):
    monkeypatch.setattr("numba.config.CACHE_DIR", str(tmp_path))
    loop = compiled()(double)
    values = np.arange(3.0)
    with no_file_larger_than(0):
        loop(values)
    assert values.tolist() == [0, 2, 4]
    compiled()(double)(values)
    assert values.tolist() == [0, 4, 8]
