"""Files that appear whole or not at all."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

from upath import UPath

from manylabel.storage.full_disks import writing
from manylabel.storage.locations import Location, is_local

_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS)
_TEMPORARY_SUFFIX = ".tmp"
TEMPORARY_PATTERN = "*." + 32 * "[0-9a-f]" + _TEMPORARY_SUFFIX
"""What a job that was killed may leave behind, as a glob."""


@contextmanager
def replacing(path: Location) -> Iterator[BinaryIO]:
    """A file that takes the name `path` when the block ends without an error.

    The temporary name is unique, so two attempts at the same file do not meet.
    """
    path = UPath(path)
    if is_local(path) and path.exists() and not path.is_file():
        # A rename would replace a device or a socket by a file.
        raise FileExistsError(errno.EEXIST, "Expected a file to replace, or none", str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{uuid4().hex}{_TEMPORARY_SUFFIX}")
    try:
        with writing(str(path), str(temporary)):
            with temporary.open("wb") as file:
                yield file
            temporary.rename(path)
    finally:
        _remove(temporary)


def replace_text(path: Location, text: str) -> None:
    """Writes UTF-8 text so that a reader sees the old text or the new one, never a part."""
    with replacing(path) as file:
        file.write(text.encode())


def create(path: Path, content: bytes) -> bool:
    """Makes a local file, whole from its first moment on; False if there is one of that name.

    Of several processes that try at once, one succeeds. Where the file system has no hard links, a
    reader may see a part of the file for a moment.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{uuid4().hex}{_TEMPORARY_SUFFIX}")
    try:
        with writing(str(path), str(temporary)):
            temporary.write_bytes(content)
            try:
                os.link(temporary, path)  # Unlike a rename, it never replaces.
            except OSError as error:
                if error.errno not in _NO_LINKS:
                    raise
                _create_without_links(path, content)
    except FileExistsError:
        return False
    finally:
        _remove(temporary)
    return True


def _remove(temporary: Path | UPath) -> None:
    with suppress(OSError):  # What the disk said before is the user's matter: it may be read-only.
        temporary.unlink(missing_ok=True)


def _create_without_links(path: Path, content: bytes) -> None:
    with path.open("xb", buffering=0) as file:
        try:
            while content:
                content = content[file.write(content) :]
        except OSError:
            path.unlink()  # The name alone would be taken for the whole.
            raise
