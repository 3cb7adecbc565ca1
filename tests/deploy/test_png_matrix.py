"""Every kind of PNG through the exported graph and through preprocessing, beside its samples."""

import struct
import zlib

import numpy as np
import pytest

pytestmark = pytest.mark.slow

WIDTH, HEIGHT = 48, 36  # pixels; the network of these tests sees them unscaled
GREY, COLOUR, PALETTE, GREY_ALPHA, COLOUR_ALPHA = 0, 2, 3, 4, 6
CHANNELS = {GREY: 1, COLOUR: 3, PALETTE: 1, GREY_ALPHA: 2, COLOUR_ALPHA: 4}
KINDS = [
    *((GREY, bits) for bits in (1, 2, 4, 8, 16)),
    *((COLOUR, bits) for bits in (8, 16)),
    *((PALETTE, bits) for bits in (1, 2, 4, 8)),
    *((alpha, bits) for alpha in (GREY_ALPHA, COLOUR_ALPHA) for bits in (8, 16)),
]
# First row and column, and steps, of each pass of Adam7.
PASSES = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2)]
PASSES.append((1, 0, 2, 1))


def chunk(name, body):
    return struct.pack(">I", len(body)) + name + body + zlib.crc32(name + body).to_bytes(4, "big")


def packed(samples, bits):
    """Rows of samples [h, w, channels], each behind a filter byte of 0."""
    rows = samples.reshape(len(samples), -1).astype(">u2").view(np.uint8)
    digits = np.unpackbits(rows, axis=1).reshape(len(samples), -1, 16)[..., 16 - bits :]
    lines = np.packbits(digits.reshape(len(samples), -1), axis=1)
    return b"".join(b"\0" + line.tobytes() for line in lines)


def png(colour_type, bits, samples, before=(), after=(), interlaced=False, name=b"IDAT"):
    """A file of samples [h, w, channels]; before and after its pixels stand the chunks given."""
    height, width = samples.shape[:2]
    header = struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, interlaced)
    passes = [samples[y::dy, x::dx] for y, x, dy, dx in PASSES] if interlaced else [samples]
    pixels = zlib.compress(b"".join(packed(part, bits) for part in passes if part.size))
    chunks = [chunk(b"IHDR", header), *before, chunk(name, pixels), *after, chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def drawn(colour_type, bits):
    """Samples [h, w, channels]: another slope in each channel."""
    levels = 1 << bits
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    slopes = [x * 3 + y, x + y * 3, (WIDTH - x) * 2 + y, x + y + 20]
    samples = np.stack([slope * levels // 180 for slope in slopes], axis=-1)
    return samples[..., : CHANNELS[colour_type]]


# Neighbours are alike, so that a JPEG changes little.
PALETTE_COLOURS = np.stack([np.arange(256), np.arange(256)[::-1], np.arange(256) // 2 + 60], axis=1)
PALETTE_COLOURS = PALETTE_COLOURS.astype(np.uint8)


def palette_of(bits):
    return PALETTE_COLOURS[:: 256 >> bits]


def parts(colour_type, bits, has_transparency):
    """The samples of a kind, the chunks that it needs, and what a viewer shows on white."""
    samples = drawn(colour_type, bits)
    most = (1 << bits) - 1
    values = samples * (255 / most)
    chunks, alpha = [], np.full((HEIGHT, WIDTH), 255.0)
    if colour_type == PALETTE:
        chunks.append(chunk(b"PLTE", palette_of(bits).tobytes()))
        values = palette_of(bits)[samples[..., 0]].astype(float)
        if has_transparency:
            alphas = np.array([3, 200, 90, 0][: most + 1], np.uint8)
            chunks.append(chunk(b"tRNS", alphas.tobytes()))
            alpha = np.append(alphas, np.full(256, 255))[samples[..., 0]]
    elif has_transparency:
        transparent = samples[7, 9]
        chunks.append(chunk(b"tRNS", transparent.astype(">u2").tobytes()))
        alpha = np.where((samples == transparent).all(axis=-1), 0.0, 255.0)
    if colour_type in (GREY_ALPHA, COLOUR_ALPHA):
        alpha, values = values[..., -1], values[..., :-1]
    shown = 255 - (255 - np.broadcast_to(values, (HEIGHT, WIDTH, 3))) * alpha[..., None] / 255
    return samples, chunks, shown


def exif(orientation):
    return (
        b"MM\0*\0\0\0\x08\0\x01" + struct.pack(">HHIHH", 0x0112, 3, 1, orientation, 0) + b"\0" * 4
    )


def xmp(orientation):
    return f'<rdf:Description tiff:Orientation="{orientation}"/>'.encode()


XMP_TEXT = chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp(6))
# Chunks before and after the pixels, and the orientation that they give.
SOURCES = {
    "none": ([], [], 1),
    "eXIf": ([chunk(b"eXIf", exif(6))], [], 6),
    "eXIf with the prefix that JPEG has": ([chunk(b"eXIf", b"Exif\0\0" + exif(8))], [], 8),
    "eXIf behind the pixels": ([], [chunk(b"eXIf", exif(8))], 8),
    "XMP": ([XMP_TEXT], [], 6),
    "XMP behind the pixels": ([], [XMP_TEXT], 6),
    "XMP as Latin text": ([chunk(b"tEXt", b"XML:com.adobe.xmp\0" + xmp(3))], [], 3),
    "eXIf before XMP": ([chunk(b"eXIf", exif(3)), XMP_TEXT], [], 3),
    "other text": ([chunk(b"tEXt", b"Comment\0" + xmp(6)), chunk(b"gAMA", b"\0\0\xb1\x8f")], [], 1),
}
TURNS = {1: 0, 3: 2, 6: -1, 8: 1}


def cells():
    """Name to (file, what a viewer shows) over kind, transparency, interlacing and source."""
    for colour_type, bits in KINDS:
        for has_transparency in (False, True) if colour_type < GREY_ALPHA else (False,):
            samples, needed, shown = parts(colour_type, bits, has_transparency)
            for interlaced in (False, True):
                for source, (before, after, orientation) in SOURCES.items():
                    name = (colour_type, bits, has_transparency, interlaced, source)
                    data = png(colour_type, bits, samples, [*before, *needed], after, interlaced)
                    yield name, data, np.rot90(shown, TURNS[orientation])


def framed(shown):
    """As the evaluation frames a picture whose long side is the network's: white beside it."""
    bars = [((48 - side) // 2, (48 - side) // 2) for side in shown.shape[:2]]
    return np.pad(shown, [*bars, (0, 0)], constant_values=255)


def test_every_kind_is_seen_as_in_training(see):
    names, files, shown = zip(*cells(), strict=True)
    assert len(names) == 468
    for name, picture, seen in zip(names, shown, see(list(files)), strict=True):
        if name[:3] == (COLOUR, 16, True):
            assert "16-bit colour PNG" in seen.fault, name
            continue
        assert seen.fault == "", name
        assert seen.difference <= 2, name
        assert np.abs(seen.exported - framed(picture)).mean() < 5, name


RGB, GREY_4, GREY_8 = drawn(COLOUR, 8), drawn(GREY, 4), drawn(GREY, 8)
PALETTE_4, COLOURS_4, _ = parts(PALETTE, 4, False)
PALETTE_8, COLOURS_8, _ = parts(PALETTE, 8, False)


def transparent(body):
    return chunk(b"tRNS", body)


def frame(number, width=WIDTH, height=HEIGHT):
    return chunk(b"fcTL", struct.pack(">IIIIIHHBB", number, width, height, 0, 0, 1, 1, 0, 0))


def animation(frames):
    return chunk(b"acTL", struct.pack(">II", frames, 0))


def frame_pixels(number):
    return chunk(b"fdAT", struct.pack(">I", number) + zlib.compress(packed(255 - RGB, 8)))


# Files as few programs write them, which preprocessing accepts.
ODD = {
    "colours beyond the palette": png(
        PALETTE, 8, PALETTE_8, [chunk(b"PLTE", palette_of(4).tobytes())]
    ),
    "a palette longer than its bits": png(PALETTE, 4, PALETTE_4, COLOURS_8),
    "a palette of an RGB picture": png(COLOUR, 8, RGB, COLOURS_8),
    "transparency of an RGBA picture": png(
        COLOUR_ALPHA, 8, drawn(COLOUR_ALPHA, 8), [transparent(b"\0\7\1")]
    ),
    "transparency of nothing": png(PALETTE, 4, PALETTE_4, [*COLOURS_4, transparent(b"")]),
    "fewer significant bits": png(GREY, 4, GREY_4, [chunk(b"sBIT", b"\2")]),
    "a background": png(COLOUR, 8, RGB, [chunk(b"bKGD", b"\0\1\0\2\0\3")]),
    "a damaged profile": png(COLOUR, 8, RGB, [chunk(b"iCCP", b"x\0\0zzz")]),
    "a short eXIf": png(COLOUR, 8, RGB, [chunk(b"eXIf", b"MM\0*\0")]),
    "two eXIf": png(COLOUR, 8, RGB, [chunk(b"eXIf", exif(3))], [chunk(b"eXIf", exif(6))]),
    "an animation": png(COLOUR, 8, RGB, [animation(2), frame(0)], [frame(1), frame_pixels(2)]),
    "an animation beside the picture": png(
        COLOUR, 8, RGB, [animation(1)], [frame(0), frame_pixels(1)]
    ),
    "bytes behind its end": png(COLOUR, 8, RGB) + b"x" * 99,
    "many small chunks": png(COLOUR, 8, RGB, [chunk(b"tEXt", b"a\0b")] * 3000),
}


def test_odd_files_are_seen_as_in_training(see):
    for name, seen in zip(ODD, see(list(ODD.values())), strict=True):
        assert seen.fault == "", name
        assert seen.difference <= 2, name


COMPRESSED = zlib.compress(xmp(6))
PROFILE = b"\nexif\n      26\n" + exif(6).hex().encode()
TRANSPARENCY, METADATA, DAMAGE = "one tRNS chunk that fits", "metadata in another form", "damaged"
# What is refused, by its fault. Preprocessing accepts most of it.
REFUSED = {
    "transparency before the palette": (
        png(PALETTE, 4, PALETTE_4, [transparent(b"\0\x80"), *COLOURS_4]),
        TRANSPARENCY,
    ),
    "transparency behind the pixels": (
        png(PALETTE, 4, PALETTE_4, COLOURS_4, [transparent(b"\0\x80")]),
        TRANSPARENCY,
    ),
    "transparency twice": (
        png(PALETTE, 4, PALETTE_4, [*COLOURS_4, transparent(b"\0"), transparent(b"\x80\0")]),
        TRANSPARENCY,
    ),
    "transparency of more colours": (
        png(PALETTE, 4, PALETTE_4, [*COLOURS_4, transparent(bytes(17))]),
        TRANSPARENCY,
    ),
    "transparency of four bytes": (
        png(GREY, 8, GREY_8, [transparent(b"\0\7\0\0")]),
        TRANSPARENCY,
    ),
    "a transparent grey beyond the bits": (
        png(GREY, 4, GREY_4, [transparent(b"\0\x11")]),
        TRANSPARENCY,
    ),
    "a damaged transparency": (
        png(PALETTE, 4, PALETTE_4, [*COLOURS_4, transparent(b"\0\x80")[:-1] + b"!"]),
        DAMAGE,
    ),
    "compressed XMP": (
        png(COLOUR, 8, RGB, [chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + COMPRESSED)]),
        METADATA,
    ),
    "compressed Latin XMP": (
        png(COLOUR, 8, RGB, [chunk(b"zTXt", b"XML:com.adobe.xmp\0\0" + COMPRESSED)]),
        METADATA,
    ),
    "Exif as text": (
        png(COLOUR, 8, RGB, [chunk(b"tEXt", b"Raw profile type exif\0" + PROFILE)]),
        METADATA,
    ),
    "Exif as compressed text": (
        png(COLOUR, 8, RGB, [chunk(b"zTXt", b"Raw profile type exif\0\0" + COMPRESSED)]),
        METADATA,
    ),
    "Exif behind an animation": (
        png(COLOUR, 8, RGB, [animation(1)], [frame(0), frame_pixels(1), chunk(b"eXIf", exif(6))]),
        METADATA,
    ),
    "an animation before its picture": (
        png(COLOUR, 8, RGB, [animation(2), frame(0), frame_pixels(1)]),
        "received an animation",
    ),
    "another chunk first": (
        png(COLOUR, 8, RGB).replace(b"IHDR", b"CgBI", 1),
        "received another chunk first",
    ),
    "too many chunks": (png(COLOUR, 8, RGB, [chunk(b"tEXt", b"")] * 20_000), "received more"),
    "no palette": (png(PALETTE, 4, PALETTE_4), DAMAGE),
    "an unknown chunk that matters": (png(COLOUR, 8, RGB, [chunk(b"ABCD", b"x")]), DAMAGE),
    "no end": (png(COLOUR, 8, RGB)[:-12], "cut short"),
    "half of it": (png(COLOUR, 8, RGB)[:-300], "cut short"),
    "only its signature": (png(COLOUR, 8, RGB)[:8], "received another chunk first"),
}


def test_what_is_refused_is_refused_by_its_fault(see):
    for (name, (_, fault)), seen in zip(
        REFUSED.items(), see([data for data, _ in REFUSED.values()]), strict=True
    ):
        assert fault in seen.fault, name
        assert (seen.exported == 127.5).all(), name
