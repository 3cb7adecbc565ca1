"""Compiled loops, kept on disk where that can be."""

from collections.abc import Callable
from typing import Any

import numba

from manylabel.storage.full_disks import is_refusal


def compiled(*, parallel: bool = False) -> Callable[[Callable[..., Any]], Any]:
    """Decorates a function of arrays with numba's compiler.

    Without Python's lock, and without checks for division by zero, which keep loops from becoming
    SIMD code. What was compiled is kept beside the module, else in the user's cache. Where neither
    can be written (a container whose user has no home, a full disk) each process compiles anew.
    """
    options = {"parallel": parallel, "error_model": "numpy", "nogil": True}

    def decorate(function: Callable[..., Any]) -> Any:
        try:
            loop = numba.njit(cache=True, **options)(function)
        except RuntimeError:  # "no locator available": no folder for the cache.
            return numba.njit(**options)(function)
        loop._cache.save_overload = _unless_full(loop._cache.save_overload)
        return loop

    return decorate


def _unless_full(save: Callable[..., None]) -> Callable[..., None]:
    def save_if_there_is_room(*arguments: Any) -> None:
        try:
            save(*arguments)  # Of one that fails, numba removes what it has begun to write.
        except OSError as error:
            if not (is_refusal(error) or isinstance(error, PermissionError)):
                raise

    return save_if_there_is_room
