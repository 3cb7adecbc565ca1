"""Bytes of pictures: what is accepted is stored as a JPEG that can be decoded; nothing else is."""

import io
import struct
import zlib
from contextlib import suppress

import numpy as np
from hypothesis import strategies as st
from PIL import Image
from upath import UPath

from manylabel.preprocessing.pictures.checking import check_image
from manylabel.preprocessing.pictures.images import store
from manylabel.preprocessing.rejections import ImageRejectedError, RejectReason
from manylabel.storage.image_policy import ImageConfig
from tests.fuzz._damage import damaged
from tests.fuzz._target import ACCEPTED, Target, check_line, fuzz
from tests.preprocessing._odd_files import EXIF, TURNED, UPRIGHT, encoded, photo

POLICY = ImageConfig(short_side_limit=32, max_pixels=1_000_000)
PNG = b"\x89PNG\r\n\x1a\n"


def _sound():
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 60), np.uint8))
    small, clear = photo().resize((30, 24)), photo().convert("RGBA")
    clear.putalpha(noise)
    frames = {"save_all": True, "append_images": [photo().rotate(90), photo().rotate(180)]}
    pictures = [
        encoded("JPEG", small),
        encoded("JPEG", noise, quality=60),
        encoded("JPEG", photo().convert("CMYK")),
        encoded("JPEG", progressive=True, exif=b"Exif\0\0" + EXIF),
        encoded("JPEG", subsampling=2, restart_marker_blocks=2),
        encoded("PNG", noise),
        encoded("PNG", clear),
        encoded("PNG", photo().convert("LA")),
        encoded("PNG", photo().quantize(16), transparency=3),
        encoded("PNG", photo().convert("1")),
        encoded("PNG", Image.fromarray(np.asarray(noise, np.uint16) * 257)),
        encoded("PNG", **frames),
        encoded("WEBP", quality=50),
        encoded("WEBP", clear, lossless=True),
        encoded("WEBP", **frames),
        encoded("GIF", photo().quantize(64)),
        encoded("GIF", **frames, transparency=0),
        *(encoded("BMP", photo().convert(mode)) for mode in ("1", "L", "P", "RGB", "RGBA")),
        encoded("MPO", save_all=True, append_images=[photo().rotate(90)]),
    ]
    odd = [data for data in (*UPRIGHT.values(), *TURNED.values()) if len(data) < 20_000]
    return [*pictures, *odd]


SOUND = _sound()
_MARKERS = b"\xd8\xd9\xda\xc0\xc2\xc4\xdb\xdd\xe1\xee"
WORDS = (
    *(b"\xff%c" % marker for marker in _MARKERS),
    *b"IHDR PLTE tRNS IDAT IEND acTL fcTL fdAT zTXt iTXt eXIf iCCP RIFF WEBP VP8L VP8X".split(),
    *b"ALPH ANIM ANMF GIF89a BM MPF".split(),
    *(b"Exif\0\0", b"ICC_PROFILE\0\1\1", b"VP8 ", b"\x21\xf9\4", b"\x2c", b"\x7f\xff\xff\xff"),
)


def with_checksums(data):
    """Of a PNG, so that a decoder gets to see what was changed in its chunks."""
    if not data.startswith(PNG):
        return data
    place, parts = len(PNG), [PNG]
    while place + 8 <= len(data):
        (length,) = struct.unpack_from(">I", data, place)
        named = data[place + 4 : place + 8 + length]
        parts.append(data[place : place + 4] + named + struct.pack(">I", zlib.crc32(named)))
        place += 12 + length
    return b"".join([*parts, data[place:]])


def check(data, folder):
    (folder / "picture").write_bytes(data)
    facts = check_image("picture", UPath(folder), POLICY)
    if facts.detail is not None:
        check_line(facts.detail.replace(str(folder), ""))
    if facts.reason is not None:
        with suppress(ImageRejectedError):  # Of a plain JPEG it does not look at the pixels.
            store(data, POLICY)
        return str(RejectReason(facts.reason))
    stored = store(data, POLICY)
    with Image.open(io.BytesIO(stored.encoded), formats=["JPEG"]) as image:
        image.load()
        assert image.mode in ("L", "RGB")
        assert image.size == (stored.width, stored.height)
        assert min(image.size) <= POLICY.short_side_limit
    assert check_image("picture", UPath(folder), POLICY) == facts
    return ACCEPTED


TARGET = Target(
    "images",
    damaged(SOUND, WORDS) | damaged(SOUND, WORDS).map(with_checksums) | st.binary(max_size=200),
    check,
    # 8 bytes a pixel, and what a decoder has for itself.
    most_bytes=8 * POLICY.max_pixels + (32 << 20),
)


def test_images(tmp_path):
    fuzz(TARGET, tmp_path / "case", 150, sound=SOUND)
