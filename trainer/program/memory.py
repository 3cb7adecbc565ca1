"""How a process that computes keeps the memory it frees.

A training step allocates and frees the same hundreds of megabytes each time. By default glibc gives
large blocks, and the ends of its heaps, back to the kernel when they are freed, and the next step
gets them again page by page, each filled with zeros: measured by benchmarks/page_faults.py.
"""

import ctypes
import os
from collections.abc import Iterator
from typing import NamedTuple


class _Setting(NamedTuple):
    variable: str
    value: int
    parameter: int  # of mallopt, in glibc's malloc.h


_SETTINGS = (
    # No block is a mapping of its own, which would go back when it is freed.
    _Setting("MALLOC_MMAP_MAX_", 0, -4),
    # The end of the heap does not go back; 2 GiB is the most that mallopt takes.
    _Setting("MALLOC_TRIM_THRESHOLD_", 2**31 - 1, -1),
    # The heap grows by 64 MiB at a time.
    _Setting("MALLOC_TOP_PAD_", 64 * 2**20, -2),
    # One heap for all threads. Each would keep what the others could use, and all but the first
    # are made of parts of 64 MiB that go back whatever the settings.
    _Setting("MALLOC_ARENA_MAX", 1, -8),
)


def malloc_environment() -> dict[str, str]:
    """The environment variables with which a process that computes is to be started.

    What the user has set in this process' environment is left out. Without effect where malloc is
    not glibc's.
    """
    return {setting.variable: str(setting.value) for setting in _unset()}


def keep_freed_memory() -> None:
    """Does for this process what `malloc_environment` does for one to be started.

    Not quite: threads that run already keep heaps of their own. To be called before TensorFlow's
    first operation; does nothing where there is no mallopt (musl, macOS).
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for setting in _unset():
            mallopt(setting.parameter, setting.value)


def _unset() -> Iterator[_Setting]:
    """The settings that the user has not made, as variables or in GLIBC_TUNABLES."""
    tunables = os.environ.get("GLIBC_TUNABLES", "").split(":")
    made = {tunable.partition("=")[0].removeprefix("glibc.malloc.") for tunable in tunables}
    for setting in _SETTINGS:
        tunable = setting.variable.removeprefix("MALLOC_").rstrip("_").lower()
        if setting.variable not in os.environ and tunable not in made:
            yield setting
