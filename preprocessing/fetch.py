"""Reading an image's file, which must be a file, below the root and of a bounded size.

A path is never read as anything else: names that look like URLs, protocols, drives or homes are
names of files.
"""

import errno
import hashlib
import os
import stat
from pathlib import Path

from upath import UPath

from manylabel.preprocessing.rejections import ImageRejectedError, RejectReason

# By type, because remote storage raises these without a number; and by number where Python has no
# type for it.
_MISSING = (FileNotFoundError, NotADirectoryError)
_MISSING_NUMBERS = (errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ)  # No file can have this name.
_UNREADABLE = (PermissionError, IsADirectoryError)

_SHOWN = 200
"""Characters of a path in a message; catalogs may hold whole pictures as `data:` URLs."""


def fetch(root: UPath, image_id: str, max_bytes: int) -> bytes:
    """The bytes of an image.

    Args:
        root: Directory of the images, resolved when it is local (`catalogs.image_root`).
        image_id: Normalised path below it.
        max_bytes: Larger files are rejected before they are read.

    Raises:
        ImageRejectedError: the image cannot be used.
        OSError: the storage failed; that says nothing about the image, so the job stops.
    """
    if "://" in image_id:
        raise ImageRejectedError(
            RejectReason.BAD_PATH,
            f"expected a path below the image root, received the URL {shown(image_id)}; download "
            "the images first, and list the files",
        )
    if isinstance(root, Path):
        return _fetch_local(str(root), image_id, max_bytes)
    return _fetch_remote(root, image_id, max_bytes)


def file_digest(data: bytes) -> str:
    """Equal for equal bytes only (BLAKE2b, 128 bits, hexadecimal)."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def shown(path: str) -> str:
    """For a message."""
    return path if len(path) <= _SHOWN else f"{path[:_SHOWN]}... ({len(path)} characters)"


def _fetch_local(root: str, image_id: str, max_bytes: int) -> bytes:
    path = os.path.join(root, image_id)
    try:
        target = os.path.realpath(path)
        if os.path.commonpath([target, root]) != root:
            detail = f"{shown(path)} is a link to {shown(target)}"
            raise ImageRejectedError(RejectReason.BAD_PATH, detail)
        status = os.stat(target)
    except ValueError as error:  # A NUL, or what no file system can encode.
        raise ImageRejectedError(RejectReason.BAD_PATH, f"{shown(path)!r}: {error}") from error
    except OSError as error:
        if error.errno in _MISSING_NUMBERS:
            raise ImageRejectedError(RejectReason.MISSING_FILE, shown(path)) from error
        raise _sorted_out(error, path) from error
    if not stat.S_ISREG(status.st_mode):
        raise ImageRejectedError(RejectReason.UNREADABLE_FILE, f"{shown(path)} is not a file")
    _check_size(status.st_size, max_bytes)
    try:
        with open(target, "rb") as file:
            data = file.read(max_bytes + 1)
    except OSError as error:
        raise _sorted_out(error, path) from error
    return _whole(data, max_bytes, path)


def _fetch_remote(root: UPath, image_id: str, max_bytes: int) -> bytes:
    path = f"{root.path.rstrip('/')}/{image_id}"
    try:
        info = root.fs.info(path)
        if info["type"] != "file":
            raise ImageRejectedError(RejectReason.UNREADABLE_FILE, f"{shown(path)} is not a file")
        _check_size(info["size"] or 0, max_bytes)
        with root.fs.open(path, "rb") as file:
            data = file.read(max_bytes + 1)
    except OSError as error:
        raise _sorted_out(error, path) from error
    return _whole(data, max_bytes, path)


def _sorted_out(error: OSError, path: str) -> ImageRejectedError | OSError:
    """Whether it is the image's fault or the storage's; the latter's error names the file."""
    if isinstance(error, _MISSING):
        return ImageRejectedError(RejectReason.MISSING_FILE, shown(path))
    if isinstance(error, _UNREADABLE) or error.errno == errno.ELOOP:
        return ImageRejectedError(
            RejectReason.UNREADABLE_FILE, f"{shown(path)}: {error.strerror or error}"
        )
    return OSError(error.errno or errno.EIO, error.strerror or str(error), path)


def _check_size(size: int, max_bytes: int) -> None:
    if size > max_bytes:
        detail = f"{size} bytes, images.max_bytes is {max_bytes}"
        raise ImageRejectedError(RejectReason.TOO_MANY_BYTES, detail)


def _whole(data: bytes, max_bytes: int, path: str) -> bytes:
    if not data:
        raise ImageRejectedError(RejectReason.EMPTY_FILE, shown(path))
    _check_size(len(data), max_bytes)  # It may have grown.
    return data
