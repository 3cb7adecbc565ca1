"""A picture inside of a tar, by where it lies there: `train-000000.tar/000123.jpg`."""

import errno
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from manylabel.preprocessing.rejections import ImageRejectedError, RejectReason
from manylabel.preprocessing.tars import IndexCache, Kind, Read, TarIndex, make_index, normalised

_TAR = re.compile(r"\.tar(?=/)", re.IGNORECASE)

_LONGEST_PATH = 4096
"""Characters in which a tar is looked for, one look for each part that is called like one."""

_INDEXES = IndexCache()
"""Of this process, so that a tar's headers are read once for all of its pictures."""


def split_at_tar(image_id: str, is_file: Callable[[str], bool]) -> tuple[str, str] | None:
    """The path of a tar and the name in it; None where no part of a path is one.

    Args:
        image_id: Normalised path.
        is_file: Of such a path; a folder may be called like a tar.
    """
    for part in _TAR.finditer(image_id, 0, _LONGEST_PATH):
        path = image_id[: part.end()]
        if is_file(path):
            return path, normalised(image_id[part.end() :])
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

    def size_of(self, name: str) -> int:
        """Bytes of a member.

        Raises:
            ImageRejectedError: it is not there, or no file of which all bytes are.
        """
        return self._find(name)[1]

    def read_member(self, name: str) -> bytes:
        """Raises as `size_of`, and OSError where the tar has become shorter."""
        offset, size = self._find(name)
        data = self.read(offset, size)
        if len(data) != size:
            raise OSError(errno.EIO, f"received {len(data)} of {size} bytes from {offset} on")
        return data

    def _find(self, name: str) -> tuple[int, int]:
        found = self.index.find(name)
        if isinstance(found, tuple):
            return found
        if found is None:
            detail = self.index.damage or "no file of that name in the tar"
            raise ImageRejectedError(RejectReason.MISSING_FILE, detail)
        detail = f"is {found.value} in the tar"
        if found is Kind.LINK:
            detail += " that leads to nothing in it"
        raise ImageRejectedError(RejectReason.UNREADABLE_FILE, detail)


@contextmanager
def open_local_tar(path: str) -> Iterator[OpenTar]:
    """Raises OSError as opening a file does."""
    tar = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:

        def read(offset: int, length: int) -> bytes:
            return os.pread(tar, length, offset)

        status = os.fstat(tar)
        size = status.st_size
        changed = status.st_mtime_ns, status.st_ctime_ns
        identity = path, status.st_dev, status.st_ino, size, changed
        yield OpenTar(read, _INDEXES.get(identity, lambda: make_index(read, size)))
    finally:
        os.close(tar)


def open_remote_tar(storage: Any, path: str) -> OpenTar:
    """Of any kind that fsspec reads; its index is made in one pass over the file.

    Raises:
        Exception: the storage's own.
    """
    info = storage.info(path)
    identity = type(storage).__name__, path, repr(info)

    def make() -> TarIndex:
        with storage.open(path, "rb") as file:

            def read(offset: int, length: int) -> bytes:
                file.seek(offset)
                return bytes(file.read(length))

            return make_index(read, info["size"])

    def read(offset: int, length: int) -> bytes:
        return bytes(storage.cat_file(path, start=offset, end=offset + length))

    return OpenTar(read, _INDEXES.get(identity, make))
