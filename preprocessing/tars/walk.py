"""The members of a tar one after another, from their headers alone."""

import posixpath
from collections.abc import Callable, Iterator
from enum import Enum
from typing import NamedTuple

from manylabel.preprocessing.tars.headers import (
    BLOCK,
    MAX_EXTENSION_BYTES,
    BadHeaderError,
    Header,
    padded,
    parse_header,
    parse_pax,
    pax_size,
)

Read = Callable[[int, int], bytes]
"""read(offset, length): bytes of the tar, fewer only at its end."""

_LONGEST_NAME = 4096
"""Bytes; as of a path that Linux opens."""

_LONGEST_PADDING = 1 << 20
"""Bytes of zeros behind a tar, after which another may have been put with `cat`."""

_FILES = frozenset({b"0", b"\0", b"7"})
_LINKS = frozenset({b"1", b"2"})
_WITHOUT_BYTES = frozenset({b"1", b"2", b"3", b"4", b"5", b"6"})
_SPARSE = b"S"
_EXTENSIONS = frozenset({b"L", b"K", b"x", b"X", b"g"})

_SOMETHING_ELSE = (
    (b"\x1f\x8b", "a file compressed with gzip, in which no place can be found; gunzip it"),
    (b"BZh", "a file compressed with bzip2, in which no place can be found; bunzip2 it"),
    (b"\xfd7zXZ\0", "a file compressed with xz, in which no place can be found; unxz it"),
    (b"\x28\xb5\x2f\xfd", "a file compressed with zstd, in which no place can be found; unzstd it"),
    (b"PK", "a zip; unpack it and write a tar"),
    (b"version https://git-lfs", "the pointer of Git LFS to it; run git lfs pull"),
)


class TarError(Exception):
    """No tar, or one that is cut or damaged; says what and where, but not in which file."""


class Kind(Enum):
    """What a member is."""

    FILE = "a file"
    LINK = "a link"
    SPARSE = "a file with holes, stored in pieces"
    OTHER = "a folder, a device or a pipe"


class Member(NamedTuple):
    """One member of a tar.

    Attributes:
        name: See `normalised`; bytes that are not UTF-8 are spelled out.
        header: Where its first header is in the tar.
        offset: Of its first byte in the tar.
        size: Bytes, all of which are in the tar.
        kind: Only a FILE has its own bytes at `offset`.
        target: Of a LINK: the name of the member that it leads to.
    """

    name: str
    header: int
    offset: int
    size: int
    kind: Kind
    target: str = ""


def walk_tar(read: Read, size: int) -> Iterator[Member]:
    """Every member, in the tar's order.

    Tars that were put one behind the other are read as one; what follows on the end of a tar and
    is none is not looked at.

    Args:
        read: Gives bytes of the tar.
        size: Of the whole tar, in bytes.

    Raises:
        TarError: it is not a tar, is cut, or has a header that cannot be one.
    """
    _check_beginning(read(0, BLOCK))
    at, ended = 0, False
    while at < size:
        block = read(at, BLOCK)
        if not any(block):
            ended = len(block) == BLOCK
            at = _after_zeros(read, at, size)
            continue
        try:
            member, end = _read_member(read, block, at, size)
        except BadHeaderError as error:
            if ended:
                return
            raise TarError(str(error)) from error
        yield member
        at, ended = end, False
    if not ended:
        raise TarError(
            f"expected a tar, received one without its end: after {size:,} bytes the blocks of "
            "zeros are missing that close it; copy it again or, if it is whole, run truncate "
            "-s +1024 on it"
        )


def member_at(read: Read, at: int, size: int) -> Member:
    """The member whose first header is at a byte, as `walk_tar` told.

    Raises:
        TarError: it is not.
    """
    try:
        return _read_member(read, read(at, BLOCK), at, size)[0]
    except BadHeaderError as error:
        raise TarError(str(error)) from error


def normalised(name: str) -> str:
    """Without `.`, `..` and doubled slashes, as if the tar were a whole disk: it leads nowhere
    else."""
    return posixpath.normpath("/" + name).lstrip("/")


def _read_member(read: Read, block: bytes, at: int, size: int) -> tuple[Member, int]:
    """The member whose first header is a block at a byte, and where the next one is."""
    first = at
    names: dict[bytes, bytes] = {}
    records: dict[bytes, bytes] = {}
    while (header := _header(block, at, size)).type in _EXTENSIONS:
        begin = at + BLOCK
        _check_inside(header.type.decode(), begin, header.size, size)
        if header.type != b"g":  # Of all files: comments, as Git writes them.
            if header.size > MAX_EXTENSION_BYTES:
                raise BadHeaderError(
                    f"a name or pax header of {header.size:,} bytes at byte {at:,}"
                )
            data = read(begin, header.size)
            if header.type in (b"L", b"K"):
                names[header.type] = data.split(b"\0", 1)[0]
            else:
                records = _records(data, at)
        at = begin + padded(header.size)
        block = read(at, BLOCK)
    begin = at + BLOCK
    if header.type == _SPARSE:
        begin = _after_map(read, begin, more=header.more_sparse)
    length = 0 if header.type in _WITHOUT_BYTES else pax_size(records, header.size)
    spelled = records.get(b"path", names.get(b"L", header.name))
    spelled = records.get(b"GNU.sparse.name", spelled)
    if len(spelled) > _LONGEST_NAME:
        raise BadHeaderError(f"expected a tar, received a name of {len(spelled):,} bytes in it")
    name = _decoded(spelled)
    kind = _kind(header, records, name)
    _check_inside(name, begin, length, size)
    target = ""
    if kind is Kind.LINK:
        target = _decoded(records.get(b"linkpath", names.get(b"K", header.link)))
        if header.type == b"2":  # From where it lies; a hard link has the whole name.
            target = posixpath.join(posixpath.dirname(name), target)
    target = target and normalised(target)
    return Member(normalised(name), first, begin, length, kind, target), begin + padded(length)


def _header(block: bytes, at: int, size: int) -> Header:
    if len(block) < BLOCK:
        raise TarError(f"expected a tar, received one that is cut at byte {size:,}, in a header")
    try:
        return parse_header(block)
    except BadHeaderError as error:
        raise BadHeaderError(f"expected a tar, received {error} at byte {at:,}") from error


def _records(data: bytes, at: int) -> dict[bytes, bytes]:
    try:
        return parse_pax(data)
    except BadHeaderError as error:
        raise BadHeaderError(f"expected a tar, received {error} at byte {at:,}") from error


def _after_map(read: Read, begin: int, *, more: bool) -> int:
    """Where a sparse file's bytes begin, behind the blocks that say where its holes are."""
    while more:
        block = read(begin, BLOCK)
        more = len(block) == BLOCK and block[504] > 0
        begin += BLOCK
    return begin


def _kind(header: Header, records: dict[bytes, bytes], name: str) -> Kind:
    if header.type in _LINKS:
        return Kind.LINK
    if header.type == _SPARSE or any(key.startswith(b"GNU.sparse.") for key in records):
        return Kind.SPARSE
    is_file = header.type in _FILES and not name.endswith("/")  # As old tars call folders.
    return Kind.FILE if is_file else Kind.OTHER


def _check_inside(name: str, begin: int, length: int, size: int) -> None:
    if begin + length > size:
        raise TarError(
            f"expected a tar, received one that is cut at byte {size:,}, in {name[:200]!r}, whose "
            f"{length:,} bytes begin at byte {begin:,}; copy it again"
        )


def _after_zeros(read: Read, at: int, size: int) -> int:
    """Where something else begins; the end of the tar where nothing does."""
    zeros = read(at, _LONGEST_PADDING)
    more = len(zeros) - len(zeros.lstrip(b"\0"))
    return size if more == len(zeros) else at + more // BLOCK * BLOCK


def _check_beginning(block: bytes) -> None:
    if not block:
        raise TarError("expected a tar, received an empty file")
    try:
        if any(block):
            parse_header(block)
    except BadHeaderError as error:
        what = f"a file that begins with {block[:20]!r}"
        known = (known for begin, known in _SOMETHING_ELSE if block.startswith(begin))
        raise TarError(f"expected a tar, received {next(known, what)}") from error


def _decoded(name: bytes) -> str:
    return name.decode("utf-8", "backslashreplace")
