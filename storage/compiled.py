"""Compiled loops, kept on disk where that can be."""

from collections.abc import Callable
from typing import Any

import numba


def compiled(*, parallel: bool = False) -> Callable[[Callable[..., Any]], Any]:
    """Decorates a function of arrays with numba's compiler.

    Without Python's lock, and without checks for division by zero, which keep loops from becoming
    SIMD code. What was compiled is kept beside the module, else in the user's cache. Where neither
    can be written (a container whose user has no home) each process compiles anew.
    """
    options = {"parallel": parallel, "error_model": "numpy", "nogil": True}

    def decorate(function: Callable[..., Any]) -> Any:
        try:
            return numba.njit(cache=True, **options)(function)
        except RuntimeError:  # "no locator available": no folder for the cache.
            return numba.njit(**options)(function)

    return decorate
