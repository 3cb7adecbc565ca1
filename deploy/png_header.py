"""The chunks of a PNG file, read as TensorFlow operations.

A chunk is the length of its body (4 bytes), its name (4), the body and a checksum (4). libpng and
Pillow agree on files that follow the specification; where a chunk is out of place or does not fit,
each takes another one, so that such files are refused.
"""

from typing import NamedTuple

import tensorflow as tf

from manylabel.deploy.byte_strings import begins_with, length_of, numbers, part, unsigned
from manylabel.deploy.file_header import FileHeader, first_fault

_SIGNATURE_BYTES = 8
_COLOUR, _PALETTE = 2, 3
_ALPHA_BIT = 4
_XMP_KEYWORD = b"XML:com.adobe.xmp\0"
_XMP_PLAIN = _XMP_KEYWORD + b"\0"
# As Pillow reads them: text in which older programs put an Exif block.
_EXIF_KEYWORDS = (b"Raw profile type exif\0", b"exif\0")
# 50 MB are 6,100 chunks of the 8 kB that libpng writes.
_MOST_CHUNKS = 20_000


class _Walk(NamedTuple):
    """Where the walk is, and what it met.

    position: of the chunk to read next. has_pixels: an IDAT chunk was met. is_over: IEND was met,
    or the end of the file.
    colours: entries of the palette; int64 [], 0 for none.
    transparency: the tRNS chunk, "" for none: alphas of the palette's first colours, or the samples
    (2 bytes each) of the one colour that is transparent.
    is_misplaced: tRNS came twice, before the palette, or after the pixels.
    is_hidden: an orientation may stand where it is not looked for.
    has_frames: frames of an animation follow the picture, where Pillow stops reading.
    is_behind_frames: they came before it.
    """

    position: tf.Tensor
    has_pixels: tf.Tensor
    is_over: tf.Tensor
    colours: tf.Tensor
    transparency: tf.Tensor
    is_misplaced: tf.Tensor
    is_hidden: tf.Tensor
    has_frames: tf.Tensor
    is_behind_frames: tf.Tensor
    exif: tf.Tensor
    xmp: tf.Tensor


def png_header(encoded: tf.Tensor) -> FileHeader:
    """Of the bytes (string []) of a PNG file."""
    # Length, name; width, height (4 bytes each), bits of a sample, colour type.
    head = numbers(part(encoded, _SIGNATURE_BYTES, 18), 18)
    bits, colour_type = head[16], head[17]
    is_palette = colour_type == _PALETTE
    no, no_colours, nothing = tf.constant(False), tf.constant(0, tf.int64), tf.constant("")
    start = _Walk(
        position=tf.constant(_SIGNATURE_BYTES, tf.int64),
        has_pixels=no,
        is_over=no,
        colours=no_colours,
        transparency=nothing,
        is_misplaced=no,
        is_hidden=no,
        has_frames=no,
        is_behind_frames=no,
        exif=nothing,
        xmp=nothing,
    )
    walk = tf.while_loop(
        lambda walk: ~walk.is_over,
        lambda walk: (_step(encoded, walk, is_palette),),
        (start,),
        maximum_iterations=_MOST_CHUNKS,
    )[0]
    alphas = length_of(walk.transparency)
    # Beside an alpha channel both decoders ignore tRNS.
    has_transparency = (alphas > 0) & (colour_type < _ALPHA_BIT)
    levels = tf.bitwise.left_shift(no_colours + 1, bits)
    fits = tf.where(
        is_palette,
        alphas <= tf.minimum(walk.colours, levels),
        tf.where(
            colour_type == _COLOUR,
            alphas == 6,
            (alphas == 2) & (unsigned(numbers(walk.transparency, 2)) < levels),
        ),
    )
    fault = first_fault(
        (
            tf.reduce_any(head[:8] != [0, 0, 0, 13, *b"IHDR"]),
            "expected a PNG that begins with its IHDR chunk, received another chunk first",
        ),
        (~walk.is_over, f"expected a PNG of at most {_MOST_CHUNKS} chunks, received more"),
        (
            has_transparency & (walk.is_misplaced | ~fits),
            "expected one tRNS chunk that fits the PNG's colours, between its palette and its "
            "pixels; received another one",
        ),
        (
            has_transparency & (colour_type == _COLOUR) & (bits > 8),
            "expected transparency of a 16-bit colour PNG as an alpha channel, received a "
            "transparent colour (tRNS)",
        ),
        (walk.is_behind_frames, "expected a PNG that begins with a picture, received an animation"),
        (
            walk.is_hidden,
            "expected a PNG's orientation in an eXIf chunk or in uncompressed XMP, received "
            "metadata in another form; save the picture without it",
        ),
    )
    return FileHeader(
        sides=tf.stack([unsigned(head[12:16]), unsigned(head[8:12])]),
        channels=tf.where((colour_type >= _ALPHA_BIT) | has_transparency, 4, 3),
        is_progressive=tf.constant(False),
        exif=walk.exif,
        xmp=walk.xmp,
        fault=fault,
    )


def _step(encoded: tf.Tensor, walk: _Walk, is_palette: tf.Tensor) -> _Walk:
    """Over one chunk. Most are pixels, of which no more than that is noted."""
    length = unsigned(numbers(part(encoded, walk.position, 4), 4))
    name = part(encoded, walk.position + 4, 4)
    body = part(encoded, walk.position + 8, length)
    end = walk.position + 8 + length + 4
    following = walk._replace(position=end, is_over=(name == "IEND") | (end >= length_of(encoded)))
    return tf.cond(
        name == "IDAT",
        lambda: following._replace(has_pixels=tf.constant(True)),
        lambda: _with_chunk(following, name, body, length, is_palette),
    )


def _with_chunk(
    walk: _Walk, name: tf.Tensor, body: tf.Tensor, length: tf.Tensor, is_palette: tf.Tensor
) -> _Walk:
    is_transparency = name == "tRNS"
    is_misplaced = (walk.transparency != "") | walk.has_pixels | (is_palette & (walk.colours == 0))
    is_exif = name == "eXIf"
    is_text = (name == "tEXt") | (name == "zTXt") | (name == "iTXt")
    is_xmp = is_text & begins_with(body, _XMP_KEYWORD)
    # In iTXt a byte after the keyword says whether the text is compressed.
    is_plain = (name == "tEXt") | ((name == "iTXt") & begins_with(body, _XMP_PLAIN))
    is_frame = (name == "fcTL") & walk.has_pixels
    is_hidden = (
        (is_text & begins_with(body, *_EXIF_KEYWORDS))
        | (is_xmp & ~is_plain)
        | ((is_exif | is_xmp) & walk.has_frames)
    )
    return walk._replace(
        colours=tf.where(name == "PLTE", length // 3, walk.colours),
        transparency=_chosen(is_transparency, body, walk.transparency),
        is_misplaced=walk.is_misplaced | (is_transparency & is_misplaced),
        is_hidden=walk.is_hidden | is_hidden,
        has_frames=walk.has_frames | is_frame,
        is_behind_frames=walk.is_behind_frames | ((name == "fdAT") & ~walk.has_pixels),
        exif=_chosen(is_exif, body, walk.exif),
        xmp=_chosen(is_xmp & is_plain, body, walk.xmp),
    )


def _chosen(is_first: tf.Tensor, first: tf.Tensor, second: tf.Tensor) -> tf.Tensor:
    """tf.where copies the text that it returns: with 20,000 chunks, of 50 MB each time."""
    return tf.cond(is_first, lambda: first, lambda: second)
