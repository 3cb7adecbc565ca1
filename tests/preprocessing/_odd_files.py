"""Files of one picture, 60 by 40 pixels, with odd things beside its pixels."""

import io
import struct
import zlib

import numpy as np
from PIL import Image


def photo():
    y, x = np.mgrid[0:40, 0:60]
    return Image.fromarray(np.stack([x * 4, y * 6, x + y], axis=-1).astype(np.uint8))


def encoded(format_, image=None, **options):
    file = io.BytesIO()
    (image or photo()).save(file, format_, **options)
    return file.getvalue()


def exif_of(orientation):
    """As in a TIFF file, with entries behind the orientation's."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x0131] = "a program of a long name"
    return exif.tobytes()[6:]


EXIF = exif_of(6)
LONG = zlib.compress(b"a" * 5_000_000)
JPEG, PNG, WEBP = encoded("JPEG"), encoded("PNG"), encoded("WEBP", lossless=True)


def chunk(name, body):
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(*chunks, before=b"IDAT"):
    at = PNG.index(before) - 4
    return PNG[:at] + b"".join(chunks) + PNG[at:]


def segment(marker, body):
    return bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body


def jpeg(*segments):
    return JPEG[:2] + b"".join(segments) + JPEG[2:]


def webp(exif):
    data = encoded("WEBP", lossless=True, exif=b"Exif\0\0" + EXIF)
    at = data.index(b"EXIF")
    data = data[:at] + b"EXIF" + struct.pack("<I", len(exif)) + exif + b"\0" * (len(exif) % 2)
    return b"RIFF" + struct.pack("<I", len(data) - 8) + data[8:]


def mpo():
    return encoded("MPO", save_all=True, append_images=[photo().rotate(90)])


def damaged_mpo():
    data = mpo()
    at = data.index(b"MPF\0") + 4
    return data[:at] + b"\xff" * 30 + data[at + 30 :]


UPRIGHT = {
    "png: text of 5 MB, packed": png(chunk(b"zTXt", b"Comment\0\0" + LONG)),
    "png: the same behind the pixels": png(chunk(b"zTXt", b"Comment\0\0" + LONG), before=b"IEND"),
    "png: the same in UTF-8": png(chunk(b"iTXt", b"Comment\0\1\0\0\0" + LONG)),
    "png: much text": png(*[chunk(b"tEXt", b"Comment\0" + b"a" * 7_000_000)] * 10),
    "png: profile of 5 MB": png(chunk(b"iCCP", b"p\0\0" + LONG)),
    "png: profile packed otherwise": png(chunk(b"iCCP", b"p\0\7" + LONG)),
    "png: text with a wrong checksum": png(chunk(b"tEXt", b"C\0x")[:-1] + b"!"),
    "png: resolution cut short": png(chunk(b"pHYs", b"\0\0")),
    "png: frames cut short": png(chunk(b"acTL", b"\0\0\0")),
    "png: no frames": png(chunk(b"acTL", bytes(8))),
    "png: frames": encoded("PNG", save_all=True, append_images=[photo().rotate(180)]),
    "png: bytes behind its end": PNG + b"junk" * 100,
    "webp: bytes behind its end": WEBP + b"junk" * 100,
    "webp: frames": encoded("WEBP", lossless=True, save_all=True, append_images=[photo()]),
    "jpeg: bytes behind its end": JPEG + b"junk" * 100,
    "jpeg: a film behind its end": JPEG + np.random.default_rng(0).bytes(8_000_000),
    "jpeg: profile cut short": jpeg(segment(0xE2, b"ICC_PROFILE\0")),
    "jpeg: part 3 of 2 of a profile": jpeg(segment(0xE2, b"ICC_PROFILE\0\3\2abcd")),
    "jpeg: Adobe's marker cut short": jpeg(segment(0xEE, b"Adobe")),
    "jpeg: Adobe's marker with another transform": jpeg(
        segment(0xEE, b"Adobe\0\x64\0\0\0\0\7"),
    ),
    "jpeg: Photoshop's resources cut short": jpeg(
        segment(0xED, b"Photoshop 3.0\0" + b"8BIM\3\xed"),
    ),
    "jpeg: two pictures": mpo(),
    "jpeg: two pictures, the index damaged": damaged_mpo(),
    "gif: bytes behind its end": encoded("GIF", photo().quantize(64)) + b"junk" * 100,
    "bmp: bytes behind its end": encoded("BMP") + b"junk" * 10,
}


TURNED = {
    # An entry takes 12 bytes: the first directory begins at 8, the orientation's entry at 10.
    "png: exif cut short": png(chunk(b"eXIf", EXIF[:26])),
    "png: file cut in its exif": png(chunk(b"eXIf", EXIF), before=b"IEND")[: -12 - 4 - 20],
    "png: exif beside too long a text": png(
        chunk(b"zTXt", b"Comment\0\0" + LONG), chunk(b"eXIf", EXIF)
    ),
    "png: xmp beside too long a text": png(
        chunk(b"zTXt", b"Comment\0\0" + LONG),
        chunk(b"iTXt", b'XML:com.adobe.xmp\0\0\0\0\0<x tiff:Orientation="6"/>'),
    ),
    "png: packed xmp beside too long a text": png(
        chunk(b"iTXt", b"Comment\0\1\0\0\0" + LONG),
        chunk(
            b"iTXt",
            b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(b'<x tiff:Orientation="6"/>'),
        ),
    ),
    "webp: exif cut short": webp(EXIF[:26]),
    "webp: file cut in its exif": webp(EXIF)[:-20],
    "jpeg: exif cut short": jpeg(segment(0xE1, b"Exif\0\0" + EXIF[:26])),
    "jpeg: exif twice": jpeg(*[segment(0xE1, b"Exif\0\0" + EXIF)] * 2),
    "jpeg: exif beside a profile cut short": jpeg(
        segment(0xE1, b"Exif\0\0" + EXIF), segment(0xE2, b"ICC_PROFILE\0")
    ),
}
