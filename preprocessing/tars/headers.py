"""The blocks of a tar before each of its files: POSIX ustar and pax (IEEE 1003.1), GNU, and v7."""

from typing import NamedTuple

BLOCK = 512

MAX_EXTENSION_BYTES = 1 << 20
"""Of what stands before a file's own header: a long name, or pax records. Linux opens names of
4,096 bytes; a comment may be longer."""

_SPACES_SUM = 8 * ord(" ")
_BASE_256 = 0x80


class BadHeaderError(ValueError):
    """Bytes that are no header; says how."""


class Header(NamedTuple):
    """One block of 512 bytes.

    Attributes:
        name: Bytes of the name, with what ustar splits off in front.
        size: Bytes of what follows, as it says; never negative.
        type: One byte.
        link: Bytes of the name that a link leads to.
        more_sparse: Whether blocks of GNU's old map of holes follow.
    """

    name: bytes
    size: int
    type: bytes
    link: bytes
    more_sparse: bool


def parse_header(block: bytes) -> Header:
    """Raises BadHeaderError where it is too short, or the checksum or the size is none."""
    if len(block) < BLOCK:
        raise BadHeaderError("half a header")
    _check_sum(block)
    name = _text(block[:100])
    magic = block[257:265]
    if magic[:6] == b"ustar\0" and block[345]:
        name = _text(block[345:500]) + b"/" + name
    kind = block[156:157]
    return Header(
        name, _number(block[124:136]), kind, _text(block[157:257]), kind == b"S" and block[482] > 0
    )


def padded(size: int) -> int:
    """Bytes that so many take in whole blocks."""
    return -(-size // BLOCK) * BLOCK


def parse_pax(data: bytes) -> dict[bytes, bytes]:
    """Records of `LENGTH KEY=VALUE` and a new line, where LENGTH is that of the whole record.

    Raises:
        BadHeaderError: one is not.
    """
    records = {}
    at = 0
    while at < len(data) and data[at]:
        blank = data.find(b" ", at, at + 20)
        digits = data[at : max(at, blank)]
        length = int(digits) if digits.isdigit() else 0
        end = at + length
        key, equals, value = data[blank + 1 : end - 1].partition(b"=")
        if blank < 0 or end > len(data) or not equals or data[end - 1 : end] != b"\n":
            raise BadHeaderError("a pax header whose records are not of the length they say")
        records[key] = value
        at = end
    return records


def pax_size(records: dict[bytes, bytes], size: int) -> int:
    """The size of a file, which its pax records may give instead of its header."""
    text = records.get(b"size")
    if text is None:
        return size
    if not text.isdigit() or len(text) > 20:
        raise BadHeaderError(f"a pax header with the size {text[:20]!r}")
    return int(text)


def _check_sum(block: bytes) -> None:
    stored = _octal(block[148:156])
    others = block[:148] + block[156:]
    if stored != sum(others) + _SPACES_SUM:
        # Some old tars added up signed bytes.
        signed = sum(others) - 256 * sum(byte > 127 for byte in others) + _SPACES_SUM
        if stored != signed:
            raise BadHeaderError("a header whose checksum is wrong")


def _number(field: bytes) -> int:
    """Octal digits, or GNU's form of 0x80 and an integer of 11 bytes, big endian."""
    if field[0] == _BASE_256:
        return int.from_bytes(field[1:], "big")
    value = _octal(field)
    if value is None:
        raise BadHeaderError(f"a header with the size {field!r}")
    return value


def _octal(field: bytes) -> int | None:
    """None for what is no number that a tar has."""
    digits = field.split(b"\0", 1)[0].strip()
    if not digits:
        return 0
    try:
        value = int(digits, 8)
    except ValueError:
        return None
    return value if value >= 0 else None


def _text(field: bytes) -> bytes:
    return field.split(b"\0", 1)[0]
