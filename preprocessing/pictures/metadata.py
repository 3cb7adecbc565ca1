"""What an image file holds beside its pixels, and the file without most of it.

Decoders read metadata that nobody asked for: a comment of megabytes, a colour profile cut short or
an odd thumbnail would cost a picture whose pixels are sound.
"""

import struct
import zlib
from collections.abc import Iterator

_JPEG, _PNG = b"\xff\xd8", b"\x89PNG\r\n\x1a\n"
_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9
_APP0, _APP1, _APP14, _APP15, _COMMENT = 0xE0, 0xE1, 0xEE, 0xEF, 0xFE
# What libjpeg takes for these segments, on which colours depend: name, least length of the body.
_COLOUR_SEGMENTS = {_APP0: (b"JFIF\0", 14), _APP14: (b"Adobe", 12)}

_PNG_PIXELS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
# Text in which Pillow looks for an orientation.
_ORIENTED_TEXT = (b"XML:com.adobe.xmp\0", b"Raw profile type exif\0", b"exif\0")
_MOST_TEXT_BYTES = 1 << 20
"""Pillow's own limit, beyond which it refuses the picture."""

_WEBP_PIXELS = (b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF")


def bare(data: bytes) -> bytes:
    """A JPEG, PNG or WebP with its pixels and what says which way up they are, and nothing else.

    An Exif block that is cut short stays, as far as it goes. The bytes of another format, and those
    that do not follow theirs, come back as they are.
    """
    if data.startswith(_PNG):
        return _PNG + b"".join(_kept_chunks(data))
    if data.startswith(_JPEG):
        return _bare_jpeg(data)
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return _bare_webp(data)
    return data


def _bare_jpeg(data: bytes) -> bytes:
    kept = [data[:2]]
    place = 2
    while place + 4 <= len(data) and data[place] == 0xFF:
        marker = data[place + 1]
        if marker in (_START_OF_SCAN, _END_OF_IMAGE, 0xFF):
            break
        (length,) = struct.unpack_from(">H", data, place + 2)
        body = data[place + 4 : place + 2 + length]
        if _stays(marker, body):
            kept.append(data[place : place + 2 + length])
        place += 2 + length
    return b"".join([*kept, data[place:]])


def _stays(marker: int, body: bytes) -> bool:
    if marker in _COLOUR_SEGMENTS:
        name, least = _COLOUR_SEGMENTS[marker]
        return body.startswith(name) and len(body) >= least
    return marker == _APP1 or not (_APP0 <= marker <= _APP15 or marker == _COMMENT)


def _kept_chunks(data: bytes) -> Iterator[bytes]:
    place = len(_PNG)
    while place + 8 <= len(data):
        (length,) = struct.unpack_from(">I", data, place)
        name = data[place + 4 : place + 8]
        body = data[place + 8 : place + 8 + length]
        end = place + 12 + length
        if name in _PNG_PIXELS:
            yield data[place:end]
        elif name == b"eXIf" or (name in (b"tEXt", b"zTXt", b"iTXt") and _is_oriented(name, body)):
            checksum = zlib.crc32(name + body)
            yield struct.pack(">I", len(body)) + name + body + struct.pack(">I", checksum)
        if name == b"IEND":
            return
        place = end


def _is_oriented(name: bytes, body: bytes) -> bool:
    """Whether Pillow may find an orientation in the text of a chunk, and will read it."""
    keyword, _, rest = body.partition(b"\0")
    if keyword + b"\0" not in _ORIENTED_TEXT:
        return False
    is_compressed = name == b"zTXt" or (name == b"iTXt" and rest.startswith(b"\1"))
    if not is_compressed:
        return len(rest) <= _MOST_TEXT_BYTES
    # Behind the method's number; in iTXt behind a flag too, and two names.
    text = rest[1:] if name == b"zTXt" else rest[2:].split(b"\0", 2)[-1]
    inflater = zlib.decompressobj()
    try:
        inflater.decompress(text, _MOST_TEXT_BYTES)
    except zlib.error:
        return False
    return rest[: 1 if name == b"zTXt" else 2].endswith(b"\0") and not inflater.unconsumed_tail


def _bare_webp(data: bytes) -> bytes:
    kept = []
    place = 12
    while place + 8 <= len(data):
        name = data[place : place + 4]
        (length,) = struct.unpack_from("<I", data, place + 4)
        body = data[place + 8 : place + 8 + length]
        if name in _WEBP_PIXELS and len(body) < length:
            return data  # Pixels are cut short, which is for the decoder to say.
        if name in _WEBP_PIXELS or name == b"EXIF":
            kept.append(name + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2))
        place += 8 + length + length % 2
    chunks = b"WEBP" + b"".join(kept)
    return b"RIFF" + struct.pack("<I", len(chunks)) + chunks
