"""Reading an image's file, which must be a file, below the root and of a bounded size.

A path is never read as anything else: names that look like URLs, protocols, drives or homes are
names of files.
"""

import errno
import hashlib
import os
import stat
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Protocol, TypeVar
from urllib.parse import quote, unquote

from upath import UPath

from manylabel.preprocessing.pictures.tar_source import (
    open_local_tar,
    open_remote_tar,
    split_at_tar,
)
from manylabel.preprocessing.rejections import ImageRejectedError, RejectReason
from manylabel.storage.errors import described, reason_of
from manylabel.storage.schema import SplitName

_T = TypeVar("_T")

# By type, because remote storage raises these without a number; and by number where Python has no
# type for it.
_MISSING = (FileNotFoundError, NotADirectoryError)
_NO_NAME_OF_A_FILE = (errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ)
_UNREADABLE = (PermissionError, IsADirectoryError)

_LONGEST_PATH = 4096
"""Bytes, with the NUL behind it, that Linux opens; to look for links in a longer one takes long."""

_SHOWN = 200
"""Characters of a path in a message; catalogs may hold whole pictures as `data:` URLs."""


class Source(Protocol):
    """Pictures that are no files below a directory."""

    def fetch(self, image_id: str, max_bytes: int) -> bytes:
        """As `fetch`."""


def root_of(side: SplitName, roots: Mapping[SplitName, _T]) -> _T:
    """Where the pictures of a side are, of one root for each catalog: one may list both sides."""
    return roots[side] if side in roots else roots[SplitName.TRAIN]


def fetch(root: UPath | Source, image_id: str, max_bytes: int) -> bytes:
    """The bytes of an image.

    Args:
        root: Directory of the images, resolved when it is local (`catalogs.image_root`); or what
            has them.
        image_id: Normalised path below it; behind a tar's the name of a file in that tar.
        max_bytes: Larger files are rejected before they are read.

    Raises:
        ImageRejectedError: the image cannot be used.
        OSError: the storage failed; that says nothing about the image, so the job stops.
    """
    if not isinstance(root, UPath | Path):
        return root.fetch(image_id, max_bytes)
    try:
        return _fetch_file(root, image_id, max_bytes)
    except ImageRejectedError as rejected:
        if rejected.reason is not RejectReason.MISSING_FILE:
            raise
        for other in _other_spellings(image_id):
            try:
                return _fetch_file(root, other, max_bytes)
            except ImageRejectedError as of_other:
                if of_other.reason is not RejectReason.MISSING_FILE:
                    raise
        raise


def _other_spellings(image_id: str) -> list[str]:
    """The same text in the other Unicode form: a Mac's file system keeps one name for both, and
    archives, copies and catalogs take either to a disk that tells them apart."""
    if image_id.isascii():
        return []
    forms = {unicodedata.normalize(form, image_id): None for form in ("NFC", "NFD")}
    return [form for form in forms if form != image_id]


def _fetch_file(root: UPath | Path, image_id: str, max_bytes: int) -> bytes:
    if split := split_at_tar(image_id, partial(_look, root)):
        return _fetch_from_tar(root, *split, max_bytes)
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
    target = _target(root, path)
    with _told_apart(path, partial(_there_instead, root, image_id)):
        try:
            status = os.stat(target)
        except OSError as error:
            if error.errno in _NO_NAME_OF_A_FILE:
                raise FileNotFoundError from error
            raise
        _check_kind(is_file=stat.S_ISREG(status.st_mode), path=path)
        _check_size(status.st_size, max_bytes)
        with open(target, "rb") as file:
            data = file.read(max_bytes + 1)  # It may grow.
    return _checked(data, max_bytes, path)


def _target(root: str, path: str) -> str:
    """Where a local path leads, which must be below the root."""
    if len(path) >= _LONGEST_PATH:
        raise ImageRejectedError(RejectReason.MISSING_FILE, shown(path))
    try:
        target = os.path.realpath(path)
    except ValueError as error:  # A NUL, or what no file system can encode.
        raise ImageRejectedError(RejectReason.BAD_PATH, f"{shown(path)!r}: {error}") from error
    if os.path.commonpath([target, root]) != root:
        detail = f"{shown(path)} is a link to {shown(target)}"
        raise ImageRejectedError(RejectReason.BAD_PATH, detail)
    return target


def _fetch_remote(root: UPath, image_id: str, max_bytes: int) -> bytes:
    path = _remote_path(root, image_id)
    with _told_apart(path):
        info = root.fs.info(path)
        _check_kind(is_file=info["type"] == "file", path=path)
        _check_size(info["size"] or 0, max_bytes)  # A server need not say.
        with root.fs.open(path, "rb") as file:
            data = _read_up_to(max_bytes + 1, file)  # It may have no end.
    return _checked(data, max_bytes, path)


def _read_up_to(size: int, file: BinaryIO) -> bytes:
    """Remote storage may give less at a time than it is asked for, and nothing at the end alone."""
    data = bytearray()
    while len(data) < size and (block := file.read(size - len(data))):
        data += block
    return bytes(data)


def _remote_path(root: UPath, image_id: str) -> str:
    # Not joined by UPath, which would take a name for a URL; but over HTTP a path is one.
    name = quote(image_id) if root.protocol in ("http", "https") else image_id
    path = f"{root.path.rstrip('/')}/{name}"
    if ".." in image_id.split("/"):  # A catalog's are normalised; a plan may have been edited.
        raise ImageRejectedError(RejectReason.BAD_PATH, shown(path))
    return path


def _fetch_from_tar(
    root: UPath | Path, tar: str, name: str, info: Mapping[str, Any], max_bytes: int
) -> bytes:
    if isinstance(root, Path):
        path = os.path.join(str(root), tar)
        tar_file = open_local_tar(_target(str(root), path))
    else:
        path = _remote_path(root, tar)
        tar_file = open_remote_tar(root.fs, path, info)
    with _told_apart(path), tar_file as opened:
        try:
            member = opened.find(name)
            _check_size(member.size, max_bytes)
            data = opened.read_member(member)
        except ImageRejectedError as rejected:
            detail = f"{shown(f'{path}/{name}')}: {rejected.detail}"
            raise ImageRejectedError(rejected.reason, detail) from rejected
    return _checked(data, max_bytes, f"{path}/{name}")


def _look(root: UPath | Path, path: str) -> Mapping[str, Any] | None:
    """What storage says of a file, nothing where that is a disk; None if it is none."""
    if isinstance(root, Path):
        return {} if os.path.isfile(os.path.join(str(root), path)) else None
    path = _remote_path(root, path)
    with _told_apart(path):
        try:
            info: Mapping[str, Any] = root.fs.info(path)
        except _MISSING:
            return None
    return info if info["type"] == "file" else None


@contextmanager
def _told_apart(path: str, there_instead: Callable[[], str] = str) -> Iterator[None]:
    """Whether an error is the image's fault or the storage's; the latter's names the file."""
    try:
        yield
    except (ImageRejectedError, MemoryError):
        raise
    except _MISSING as error:
        detail = shown(path) + there_instead()
        raise ImageRejectedError(RejectReason.MISSING_FILE, detail) from error
    except OSError as error:
        reason = error.strerror or reason_of(error)
        if isinstance(error, _UNREADABLE) or error.errno == errno.ELOOP:
            detail = f"{shown(path)}: {reason}"
            raise ImageRejectedError(RejectReason.UNREADABLE_FILE, detail) from error
        raise OSError(error.errno or errno.EIO, reason, path) from error
    except Exception as error:  # Remote storage has its own kinds.
        raise OSError(errno.EIO, described(error), path) from error


def _there_instead(root: str, image_id: str) -> str:
    """What may be wrong with all paths of a catalog, if there is a file that says so."""
    folder, name = os.path.split(image_id)
    stem, suffix = os.path.splitext(image_id)
    for remark, other in (
        ("with / for \\", image_id.replace("\\", "/")),
        ("without spaces around its name", os.path.join(folder, name.strip())),
        ("with its suffix in the other case", stem + suffix.swapcase()),
        ("in lower case", image_id.lower()),
        ("that ends in .jpg, which image_suffix can add", f"{image_id}.jpg"),
        ("that ends in .png, which image_suffix can add", f"{image_id}.png"),
        ("without the escapes of a URL", unquote(image_id)),
    ):
        if other not in ("", image_id) and os.path.isfile(os.path.join(root, other)):
            return f"; there is one {remark}"
    above = os.path.dirname(root)
    if os.path.isfile(os.path.join(above, image_id)):
        return f"; there is one from {above} on, the folder above the image root"
    below = image_id.partition("/")[2]
    if below and os.path.isfile(os.path.join(root, below)):
        return "; there is one without the first folder of its path"
    return ""


def _check_kind(*, is_file: bool, path: str) -> None:
    if not is_file:
        raise ImageRejectedError(RejectReason.UNREADABLE_FILE, f"{shown(path)} is not a file")


def _check_size(size: int, max_bytes: int) -> None:
    if size > max_bytes:
        detail = f"{size} bytes, images.max_bytes is {max_bytes}"
        raise ImageRejectedError(RejectReason.TOO_MANY_BYTES, detail)


def _checked(data: bytes, max_bytes: int, path: str) -> bytes:
    if not data:
        raise ImageRejectedError(RejectReason.EMPTY_FILE, shown(path))
    _check_size(len(data), max_bytes)  # It may have grown, or its size was not known.
    return data
