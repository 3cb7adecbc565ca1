"""Reading an image's file, which must be a file, below the root and of a bounded size."""

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
_UNREADABLE = (PermissionError, IsADirectoryError)


def fetch(root: UPath, image_id: str, max_bytes: int) -> bytes:
    """The bytes of an image.

    Args:
        root: Directory of the images, resolved when it is local (`catalogs.image_root`).
        image_id: Normalised path below it (`listing.image_id_of`).
        max_bytes: Larger files are rejected before they are read.

    Raises:
        ImageRejectedError: the image cannot be used.
        OSError: the storage failed; that says nothing about the image, so the job stops.
    """
    path = root / image_id
    try:
        if isinstance(root, Path):  # Links and special files exist on local disks only.
            target = os.path.realpath(path)
            if not Path(target).is_relative_to(root):
                raise ImageRejectedError(RejectReason.BAD_PATH, f"{path} is a link to {target}")
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise ImageRejectedError(RejectReason.UNREADABLE_FILE, f"{path} is not a file")
        if status.st_size > max_bytes:
            detail = f"{status.st_size} bytes, images.max_bytes is {max_bytes}"
            raise ImageRejectedError(RejectReason.TOO_MANY_BYTES, detail)
        data = path.read_bytes()
    except OSError as error:
        if isinstance(error, _MISSING) or error.errno == errno.ENAMETOOLONG:
            raise ImageRejectedError(RejectReason.MISSING_FILE, str(path)) from error
        if isinstance(error, _UNREADABLE) or error.errno == errno.ELOOP:
            raise ImageRejectedError(RejectReason.UNREADABLE_FILE, str(error)) from error
        raise
    if not data:
        raise ImageRejectedError(RejectReason.EMPTY_FILE, str(path))
    return data


def file_digest(data: bytes) -> str:
    """Equal for equal bytes only (BLAKE2b, 128 bits, hexadecimal)."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()
