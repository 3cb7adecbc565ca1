"""Locks on local files, which the system frees when the process that holds them dies."""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path


@contextmanager
def sole_holder(path: Path, *, wait: bool = False) -> Iterator[None]:
    """Holds the lock of a file for the block; the file is made if need be.

    Args:
        wait: until another process has let go of it.

    Raises:
        BlockingIOError: another process holds it, and `wait` is False.
        OSError: the file cannot be made or locked.
    """
    with ExitStack() as stack:
        is_there = False
        while not is_there:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = stack.enter_context(path.open("ab"))
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            with suppress(FileNotFoundError):  # Its holder may have removed it meanwhile.
                is_there = os.path.samestat(path.stat(), os.fstat(file.fileno()))
        yield


@contextmanager
def sole_user(path: Path) -> Iterator[None]:
    """Holds the lock of an existing file for the block; it need not be writable.

    Raises:
        BlockingIOError: somebody uses it, see `shared`.
        FileNotFoundError: there is no such file.
        OSError: it cannot be locked.
    """
    # For writing where that is allowed: network file systems demand it of whoever locks out others.
    with path.open("r+b" if os.access(path, os.W_OK) else "rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield


@contextmanager
def shared(path: Path) -> Iterator[None]:
    """Holds the lock of an existing file for the block, together with any number of others.

    The file need not be writable.

    Raises:
        BlockingIOError: a `sole_user` has it.
        FileNotFoundError: there is no such file, or none any more.
        OSError: it cannot be locked.
    """
    with path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        # It may have been removed between the two calls above.
        if not os.path.samestat(path.stat(), os.fstat(file.fileno())):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
        yield
