"""Files that appear whole or not at all."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO
from uuid import uuid4

from upath import UPath

TEMPORARY_SUFFIX = ".tmp"


@contextmanager
def replacing(path: UPath) -> Iterator[BinaryIO]:
    """A file that takes the name `path` when the block ends without an error.

    The temporary name is unique, so two attempts at the same file do not meet.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{uuid4().hex}{TEMPORARY_SUFFIX}")
    try:
        with temporary.open("wb") as file:
            yield file
        temporary.rename(path)
    finally:
        temporary.unlink(missing_ok=True)
