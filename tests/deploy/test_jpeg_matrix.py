"""Every kind of JPEG through the exported graph and through preprocessing, beside its picture."""

import base64
import io
import itertools
import struct

import numpy as np
import pytest
from PIL import Image

pytestmark = pytest.mark.slow

WIDTH, HEIGHT = 48, 36  # pixels; the network of these tests sees them unscaled
JFIF, EXIF, ICC, ADOBE, COMMENT = b"\xff\xe0", b"\xff\xe1", b"\xff\xe2", b"\xff\xee", b"\xff\xfe"
TABLES, FRAME, HUFFMAN, SCAN = b"\xff\xdb", b"\xff\xc0", b"\xff\xc4", b"\xff\xda"

# 20×16 pixels, in arithmetic coding, which Pillow reads but does not write (libjpeg's cjpeg).
ARITHMETIC = base64.b64decode(
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAgGBgcGBQgHBwcJCQgKDBQNDAsLDBkSEw8UHRofHh0aHBwgJC4nICIsIxwc"
    "KDcpLDAxNDQ0Hyc5PTgyPC4zNDL/2wBDAQkJCQwLDBgNDRgyIRwhMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIy"
    "MjIyMjIyMjIyMjIyMjIyMjIyMjL/yQARCAAQABQDASIAAhEBAxEB/8wACgAQEAUBEBEF/9oADAMBAAIRAxEAPwDR34DK"
    "2vDaPLFFKcNMblcFlATfxM1Qv6T9v6mdz2w9ZwjkcyXBYJeSZ/jaX2IAp5e5sXCV+8EeS03lHKuKDX7TiFRMBJFwQD83"
    "hKwE8R/0kRA1Pkd+taGh60WMnm5YvJnO+jM6Y+G7Ps4K4P/Z"
)


def picture():
    """Red to the right, green downwards: no turn of it looks like another."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    channels = [x * 255 // WIDTH, y * 255 // HEIGHT, 255 - x * 255 // WIDTH]
    return Image.fromarray(np.stack(channels, axis=-1).astype(np.uint8))


def jpeg(image=None, **options):
    file = io.BytesIO()
    (image or picture()).save(file, "JPEG", **{"quality": 95, "subsampling": 0, **options})
    return file.getvalue()


def segment(marker, body):
    return marker + struct.pack(">H", len(body) + 2) + body


def before(data, marker, *segments):
    """With segments put before the first of a kind that is there."""
    at = data.index(marker)
    return data[:at] + b"".join(segments) + data[at:]


def without(data, marker):
    """Without the first segment of a kind."""
    at = data.index(marker)
    return data[:at] + data[at + 2 + int.from_bytes(data[at + 2 : at + 4], "big") :]


CMYK = jpeg(picture().convert("CMYK"))
MODES = {
    "colours": jpeg(),
    "subsampled": jpeg(subsampling=2),
    "grey": jpeg(picture().convert("L")),
    "progressive": jpeg(progressive=True),
    "RGB without conversion": jpeg(keep_rgb=True),
    "restart markers": jpeg(restart_marker_blocks=2),
    "CMYK": CMYK,
    "CMYK without the Adobe marker": without(CMYK, ADOBE),
    "extended": jpeg().replace(FRAME, b"\xff\xc1", 1),
}


def tiff(*entries, order=">", directory=8):
    """A TIFF block; entries: tag, type, count and the four bytes of the value."""
    count = struct.pack(order + "H", len(entries))
    rows = b"".join(struct.pack(order + "HHI4s", *entry) for entry in entries)
    head = (b"MM" if order == ">" else b"II") + struct.pack(order + "HI", 42, directory)
    return head + b"\0" * (directory - 8) + count + rows + b"\0" * 4


def oriented(orientation, order=">", **options):
    """Exif as cameras write it: among other tags, one number of two bytes."""
    value = struct.pack(order + "HH", orientation, 0)
    make = (0x010F, 2, 4, b"abc\0")
    exposure = (0x8769, 4, 1, struct.pack(order + "I", 0))
    return b"Exif\0\0" + tiff(make, (0x0112, 3, 1, value), exposure, order=order, **options)


def long(orientation):
    return b"Exif\0\0" + tiff((0x0112, 4, 1, struct.pack(">I", orientation)))


def xmp(orientation, form='tiff:Orientation="{}"'):
    packet = f"<x:xmpmeta><rdf:Description {form.format(orientation)}/></x:xmpmeta>"
    return b"http://ns.adobe.com/xap/1.0/\0" + packet.encode() + b"\xff\xfe"


ELEMENT = "><tiff:Orientation>{}</tiff:Orientation><rdf:Description"
# The APP1 segments that say it, and the orientation that they give.
SOURCES = {
    "none": ([], 1),
    "Exif, big-endian": ([oriented(6)], 6),
    "Exif, little-endian": ([oriented(8, "<")], 8),
    "Exif, a LONG": ([long(3)], 3),
    "XMP attribute": ([xmp(6)], 6),
    "XMP element": ([xmp(8, ELEMENT)], 8),
    "XMP before Exif": ([xmp(6), oriented(3)], 3),
    "Exif before XMP": ([oriented(3, "<"), xmp(6)], 3),
}
WIDE = segment(ICC, b"ICC_PROFILE\0\1\2" + bytes(65_000)) + segment(
    ICC, b"ICC_PROFILE\0\2\2" + bytes(65_000)
)
# Where these stand in the file.
PLACES = {
    "first": lambda data, *found: data[:2] + b"".join(found) + data[2:],
    "alone": lambda data, *found: (
        data[:2] + b"".join(found) + (without(data, JFIF) if data[2:4] == JFIF else data)[2:]
    ),
    "behind other segments": lambda data, *found: before(
        data, TABLES, segment(COMMENT, b"\xff\xe1\0\x10Exif\0\0"), WIDE, *found
    ),
    "behind the tables": lambda data, *found: before(data, HUFFMAN, *found),
    "right before the pixels": lambda data, *found: before(data, SCAN, *found),
    "after fill bytes": lambda data, *found: before(data, TABLES, b"\xff" * 300, *found),
    "after bytes of no meaning": lambda data, *found: before(
        data, TABLES, segment(COMMENT, b""), b"\0junk\xff\0" * 30, *found
    ),
}
TURNS = {1: 0, 3: 2, 6: -1, 8: 1}


def framed(shown):
    """As the evaluation frames a picture whose long side is the network's: white beside it."""
    bars = [((48 - side) // 2, (48 - side) // 2) for side in shown.shape[:2]]
    return np.pad(shown, [*bars, (0, 0)], constant_values=255)


def test_every_kind_is_seen_as_in_training(see):
    cells = list(itertools.product(MODES, SOURCES, PLACES))
    files = []
    for mode, source, place in cells:
        segments = [segment(EXIF, body) for body in SOURCES[source][0]]
        files.append(PLACES[place](MODES[mode], *segments))
    for (mode, source, place), seen in zip(cells, see(files), strict=True):
        assert seen.fault == "", (mode, source, place)
        assert seen.difference <= 2, (mode, source, place)
        shown = picture().convert("L").convert("RGB") if mode == "grey" else picture()
        shown = np.rot90(np.asarray(shown, float), TURNS[SOURCES[source][1]])
        assert np.abs(seen.exported - framed(shown)).mean() < 5, (mode, source, place)


def exif(*segments, marker=TABLES, mode="colours"):
    return before(MODES[mode], marker, *(segment(EXIF, body) for body in segments))


def entries(*found):
    return b"Exif\0\0" + tiff(*found)


SIX = struct.pack(">HH", 6, 0)
FAR = oriented(6, directory=60_000)
CUT_MAKE = (0x010F, 2, 99_999, struct.pack(">I", 10))
# Files as few programs write them, which preprocessing accepts.
ODD = {
    "the second of two entries": exif(entries((0x0112, 3, 1, SIX), (0x0112, 3, 1, b"\0\3\0\0"))),
    "an entry of an unknown type": exif(entries((0x0112, 99, 1, SIX)), xmp(8)),
    "an entry without values": exif(entries((0x0112, 3, 0, SIX)), xmp(8)),
    "no orientation": exif(oriented(0)),
    "an orientation beyond eight": exif(oriented(9), xmp(6)),
    "a long beyond two bytes": exif(long(65_542)),
    "a longer value cut off before it": exif(entries(CUT_MAKE, (0x0112, 3, 1, SIX))),
    "a longer value cut off after it": exif(entries((0x0112, 3, 1, SIX), CUT_MAKE)),
    "the thumbnail's orientation": exif(b"Exif\0\0MM\0*\0\0\0\x08\0\0" + tiff((0x0112, 3, 1, SIX))),
    "a directory far away": exif(oriented(6, directory=40_001)),
    "a block of two segments": exif(FAR[:50_000], b"Exif\0\0" + FAR[50_000:]),
    "two blocks": exif(oriented(6), oriented(3)),
    "an empty block": exif(b"Exif\0\0", xmp(6)),
    "a block of nonsense": exif(b"Exif\0\0hello world", xmp(6)),
    "a block of five bytes": exif(b"Exif\0\0MM\0*\0", xmp(6)),
    "a block without entries": exif(b"Exif\0\0MM\0*\0\0\0\x08"),
    "a directory beyond the end": exif(b"Exif\0\0MM\0*\xff\xff\xff\xff"),
    "more entries than there are": exif(b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + long(6)[16:]),
    "an entry cut off": exif(oriented(6)[:-9]),
    "a wrong TIFF signature": exif(oriented(6).replace(b"MM\0*", b"MM*\0")),
    "the signature of another TIFF": exif(oriented(6).replace(b"MM\0*", b"MM\0+")),
    "another signature": exif(oriented(6).replace(b"Exif", b"EXIF")),
    "Exif in another segment": before(MODES["colours"], TABLES, segment(ICC, oriented(6))),
    "Exif behind the pixels": MODES["colours"] + segment(EXIF, oriented(6)),
    "two XMP packets": exif(xmp(6), xmp(3)),
    "XMP of two orientations": exif(xmp(6) + xmp(3)),
    "XMP of none": exif(xmp("x") + xmp(0) + xmp(6)),
    "XMP in single quotes": exif(xmp(6, "tiff:Orientation='{}'")),
    "many segments": before(
        MODES["colours"], TABLES, segment(COMMENT, b"") * 900, segment(EXIF, oriented(6))
    ),
    "segments without a length": before(
        MODES["colours"], TABLES, EXIF + b"\0\0" + oriented(6) + EXIF + b"\0\1"
    ),
    "a marker without a segment": before(MODES["colours"], TABLES, b"\xff\xd0"),
    "another picture behind it": MODES["colours"] + jpeg(picture().rotate(180)),
    "arithmetic coding": ARITHMETIC,
    "YCCK": before(CMYK, ADOBE, segment(EXIF, oriented(6))).replace(
        b"Adobe\0\x64\0\0\0\0\0", b"Adobe\0\x64\0\0\0\0\2"
    ),
    "progressive CMYK": without(jpeg(picture().convert("CMYK"), progressive=True), ADOBE),
    "an RGB JPEG by its Adobe marker": before(
        MODES["colours"], TABLES, segment(ADOBE, b"Adobe\0\x64\0\0\0\0\0")
    ),
    "damage among the pixels": MODES["colours"][:-200] + b"\x55" * 10 + MODES["colours"][-190:],
}


def test_odd_files_are_seen_as_in_training(see):
    for name, seen in zip(ODD, see(list(ODD.values())), strict=True):
        assert seen.fault == "", name
        assert seen.difference <= 2, name


BASELINE = b"\xff\xc0\0\x11\x08\0\x24\0\x30\x03"
TYPE = "orientation as one number of type 3 or 4, received type and count"
# What is refused, by its fault. Preprocessing accepts some of it.
REFUSED = {
    "a byte": (exif(entries((0x0112, 1, 1, b"\6\0\0\0"))), f"{TYPE} 1 1"),
    "a fraction": (
        exif(entries((0x0112, 5, 1, b"\0\0\0\x1a")) + b"\0\0\0\6\0\0\0\1"),
        f"{TYPE} 5 1",
    ),
    "a text": (exif(entries((0x0112, 2, 2, b"6\0\0\0"))), f"{TYPE} 2 2"),
    "two numbers": (exif(entries((0x0112, 3, 2, SIX))), f"{TYPE} 3 2"),
    "more Exif than is read": (
        exif(*([b"Exif\0\0" + bytes(60_000)] * 17)),
        "at most 1000000 bytes of Exif, received more",
    ),
    "too many segments": (
        before(MODES["colours"], TABLES, segment(COMMENT, b"") * 1001),
        "pixels after at most 1000 segments, received more",
    ),
    "a file of zeros": (b"\xff\xd8\xff" + bytes(300_000), "at most 1000 segments, received more"),
    "only its first bytes": (b"\xff\xd8\xff", "received one that ends before them"),
    "its header": (MODES["colours"].split(SCAN)[0], "received one that ends before them"),
    "an end before the pixels": (
        before(MODES["colours"], TABLES, b"\xff\xd9"),
        "received one that ends before them",
    ),
    "a segment beyond the end": (
        before(MODES["colours"], TABLES, b"\xff\xe5\xff\xff"),
        "received one that ends before them",
    ),
    "12 bits": (
        MODES["colours"].replace(BASELINE, BASELINE[:4] + b"\x0c" + BASELINE[5:]),
        "received bits and frame marker 12 192",
    ),
    "lossless": (MODES["colours"].replace(FRAME, b"\xff\xc3", 1), "frame marker 8 195"),
    "hierarchical": (MODES["colours"].replace(FRAME, b"\xff\xc5", 1), "frame marker 8 197"),
    "two components": (
        MODES["colours"].replace(BASELINE, BASELINE[:-1] + b"\x02"),
        "1, 3 or 4 components, received 2",
    ),
    "no lines": (
        MODES["colours"].replace(BASELINE, BASELINE[:5] + b"\0\0\0\x30\x03"),
        "pixels, received height and width 0 48",
    ),
    "a marker of no meaning": (before(MODES["colours"], TABLES, b"\xff\xf0\0\4ab"), "damaged"),
    "two beginnings": (before(MODES["colours"], TABLES, b"\xff\xd8"), "damaged"),
    "no end": (MODES["colours"][:-2], "cut short"),
    "half of it": (MODES["colours"][:-300], "cut short"),
}


def test_what_is_refused_is_refused_by_its_fault(see):
    for (name, (_, fault)), seen in zip(
        REFUSED.items(), see([data for data, _ in REFUSED.values()]), strict=True
    ):
        assert fault in seen.fault, name
        assert (seen.exported == 127.5).all(), name


@pytest.mark.parametrize("mode", MODES)
def test_large_pictures_are_reduced_as_in_training(see, mode):
    """The limit of the tests' policy is 64 pixels; Pillow decodes these at a quarter."""
    large = picture().resize((720, 540), Image.Resampling.BICUBIC)
    form = {"grey": "L", "CMYK": "CMYK", "CMYK without the Adobe marker": "CMYK"}.get(mode, "RGB")
    data = jpeg(large.convert(form), progressive=mode == "progressive")
    if mode.endswith("without the Adobe marker"):
        data = without(data, ADOBE)
    data = before(data, HUFFMAN, segment(EXIF, oriented(6)))
    (seen,) = see([data])
    assert seen.fault == ""
    assert seen.difference <= 2
