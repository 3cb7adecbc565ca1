"""A picture inside of a tar, by where it lies there: `train-000000.tar/000123.jpg`."""

import errno
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from manylabel.preprocessing.rejections import ImageRejectedError, RejectReason
from manylabel.preprocessing.tars import (
    IndexCache,
    Kind,
    Member,
    Read,
    TarIndex,
    make_index,
    normalised,
)
from manylabel.preprocessing.tars.reading import reader_of

_Found = TypeVar("_Found")

_TAR = re.compile(r"\.tar(?=/)", re.IGNORECASE)

_LONGEST_PATH = 4096
"""Characters in which a tar is looked for, one look for each part that is called like one."""

_NO_PICTURES = (".json", ".txt", ".cls")
"""Endings of most other files in tars of pictures, whose places are not kept."""

_INDEXES = IndexCache()
"""Of this process, so that a tar's headers are read once for all of its pictures."""


def split_at_tar(
    image_id: str, look: Callable[[str], _Found | None]
) -> tuple[str, str, _Found] | None:
    """The path of a tar, the name in it, and what was found; None where no part is a tar.

    Args:
        image_id: Normalised path.
        look: What is said of the file at such a path; None for none, as a folder may be called
            like a tar.
    """
    for part in _TAR.finditer(image_id, 0, _LONGEST_PATH):
        path = image_id[: part.end()]
        if (found := look(path)) is not None:
            return path, normalised(image_id[part.end() :]), found
    return None


@dataclass(frozen=True)
class OpenTar:
    """A tar from which one member is read.

    Attributes:
        read: Its bytes by offset and length.
        index: Of these bytes, not of what was there before.
    """

    read: Read
    index: TarIndex

    def find(self, name: str) -> Member:
        """A file in it.

        Raises:
            ImageRejectedError: it is not there, or no file of which all bytes are.
        """
        found = self.index.find(name, self.read)
        if found is None:
            detail = self.index.damage or "no file of that name in the tar"
            raise ImageRejectedError(RejectReason.MISSING_FILE, detail)
        if found.kind is not Kind.FILE:
            detail = f"is {found.kind.value} in the tar"
            if found.kind is Kind.LINK:
                detail += " that leads to nothing in it"
            raise ImageRejectedError(RejectReason.UNREADABLE_FILE, detail)
        return found

    def read_member(self, member: Member) -> bytes:
        """Raises OSError where the tar has become shorter."""
        data = self.read(member.offset, member.size)
        if len(data) != member.size:
            raise OSError(
                errno.EIO, f"received {len(data)} of {member.size} bytes from {member.offset} on"
            )
        return data


@contextmanager
def open_local_tar(path: str) -> Iterator[OpenTar]:
    """Raises OSError as opening a file does."""
    tar = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:

        def read(offset: int, length: int) -> bytes:
            return os.pread(tar, length, offset)

        status = os.fstat(tar)
        size = status.st_size
        changed = status.st_mtime_ns, status.st_ctime_ns
        identity = path, status.st_dev, status.st_ino, size, changed

        def make() -> TarIndex:
            return make_index(read, size, without=_NO_PICTURES)

        yield OpenTar(read, _INDEXES.get(identity, make))
    finally:
        os.close(tar)


@contextmanager
def open_remote_tar(storage: Any, path: str, info: Mapping[str, Any]) -> Iterator[OpenTar]:
    """Of any kind that fsspec reads; its index is made in one pass over the file.

    Args:
        storage: Where it is.
        path: Of the tar.
        info: What the storage says of it now.

    Raises:
        Exception: the storage's own.
    """
    identity = type(storage).__name__, path, repr(info)

    def make() -> TarIndex:
        with storage.open(path, "rb") as file:
            return make_index(*reader_of(file), without=_NO_PICTURES)

    def read(offset: int, length: int) -> bytes:
        return bytes(storage.cat_file(path, start=offset, end=offset + length))

    yield OpenTar(read, _INDEXES.get(identity, make))
