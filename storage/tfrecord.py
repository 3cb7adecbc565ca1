"""TFRecord framing: each payload between checksums of its length and of itself.

    uint64 length | uint32 masked CRC32C of the length | payload | uint32 masked CRC32C of payload

All little-endian; the mask is the one of TensorFlow's lib/hash/crc32c.h.
"""

import struct
from collections.abc import Iterator
from typing import BinaryIO

import google_crc32c
from upath import UPath

from manylabel.storage.errors import CorruptRecordError

HEADER_BYTES = 12
FOOTER_BYTES = 4

_BLOCK = 1 << 24

_HEADER = struct.Struct("<QI")
_FOOTER = struct.Struct("<I")


def frame(payload: bytes) -> bytes:
    """The whole record: header, payload, footer."""
    length = struct.pack("<Q", len(payload))
    return length + _checksum(length) + payload + _checksum(payload)


def write_record(file: BinaryIO, payload: bytes) -> int:
    """Appends one record and returns the bytes written (payload + 16)."""
    return file.write(frame(payload))


def read_record(buffer: bytes | memoryview, offset: int, path: str = "") -> bytes:
    """The payload of the record that starts at byte `offset` of `buffer`.

    Args:
        buffer: A whole file or a mapping of it.
        offset: Position of the record's header.
        path: Named in the error.

    Raises:
        CorruptRecordError: a checksum differs or the buffer ends inside the record.
    """
    view = memoryview(buffer)
    header = bytes(view[offset : offset + HEADER_BYTES])
    length = _checked_length(header, path, offset)
    start = offset + HEADER_BYTES
    body = bytes(view[start : start + length + FOOTER_BYTES])
    return _checked_payload(body, length, path, offset)


def iterate_records(path: UPath | str) -> Iterator[bytes]:
    """The payloads of a file in order, holding one at a time.

    Raises:
        CorruptRecordError: as `read_record`; the records before it have been given out.
    """
    offset = 0
    with UPath(path).open("rb") as file:
        while header := file.read(HEADER_BYTES):
            length = _checked_length(header, str(path), offset)
            body = _read(file, length + FOOTER_BYTES)
            yield _checked_payload(body, length, str(path), offset)
            offset += HEADER_BYTES + length + FOOTER_BYTES


def payload_length(header: bytes) -> int:
    """Bytes of a record's payload, by its header (HEADER_BYTES).

    Raises:
        CorruptRecordError: the header is cut short, or not one.
    """
    return _checked_length(header, "", 0)


def read_first_record(file: BinaryIO, most_bytes: int) -> bytes:
    """The payload of the record at the start of a file.

    Raises:
        CorruptRecordError: there is no sound record, or it has more than `most_bytes`.
    """
    length = payload_length(file.read(HEADER_BYTES))
    if length > most_bytes:
        raise CorruptRecordError("", 0, f"expected at most {most_bytes} bytes, received {length}")
    return _checked_payload(_read(file, length + FOOTER_BYTES), length, "", 0)


def _read(file: BinaryIO, size: int) -> bytes:
    """At most `size` bytes; memory is taken for those that are there, whatever a header says."""
    data = file.read(min(size, _BLOCK))
    while len(data) < size and (block := file.read(min(size - len(data), len(data)))):
        data += block
    return data


def _checked_length(header: bytes, path: str, offset: int) -> int:
    """The payload length; its checksum is tested first, so a wrong length is never read."""
    if len(header) < HEADER_BYTES:
        detail = f"the file ends in the header ({len(header)} of {HEADER_BYTES} bytes)"
        raise CorruptRecordError(path, offset, detail)
    length, checksum = _HEADER.unpack(header)
    if _masked_crc32c(header[:8]) != checksum:
        raise CorruptRecordError(path, offset, "the length does not match its CRC32C")
    return int(length)


def _checked_payload(body: bytes, length: int, path: str, offset: int) -> bytes:
    if len(body) < length + FOOTER_BYTES:
        detail = f"the file ends in the payload ({len(body)} of {length + FOOTER_BYTES} bytes)"
        raise CorruptRecordError(path, offset, detail)
    payload = body[:length]
    if _masked_crc32c(payload) != _FOOTER.unpack(body[length:])[0]:
        raise CorruptRecordError(path, offset, "the payload does not match its CRC32C")
    return payload


def _checksum(data: bytes) -> bytes:
    return _FOOTER.pack(_masked_crc32c(data))


def _masked_crc32c(data: bytes) -> int:
    crc = google_crc32c.value(data)
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF
