"""The segments of a JPEG file up to its pixels, read as TensorFlow operations.

A file is a row of markers: 0xFF and a byte that names them; most head a segment, whose length
follows in two bytes that count themselves. The walk goes from one to the next as libjpeg does,
which skips any other bytes between them, so that it finds the frame whose pixels are decoded.
"""

from typing import NamedTuple

import tensorflow as tf

from manylabel.deploy.byte_strings import ALL, begins_with, length_of, numbers, part, unsigned
from manylabel.deploy.file_header import FileHeader, first_fault, said
from manylabel.deploy.orientation import MOST_EXIF_BYTES

_APP1, _END, _SCAN, _TEMPORARY = 0xE1, 0xD9, 0xDA, 0x01
_FIRST_RESTART = 0xD0
_FRAMES, _NO_FRAMES = (0xC0, 0xCF), (0xC4, 0xC8, 0xCC)
_PROGRESSIVE = (0xC2, 0xCA)
# Baseline, extended and progressive, by Huffman or arithmetic coding. The others are lossless or
# hierarchical.
_DECODED = (0xC0, 0xC1, 0xC2, 0xC9, 0xCA)

_EXIF = b"Exif\0\0"
_XMP = b"http://ns.adobe.com/xap/1.0/\0"

# 50 MB of metadata are 760 segments of the longest kind.
_MOST_SEGMENTS = 1000
# Bytes in which the next marker is looked for; nearly always it is the first two.
_WINDOW = 64


class _Walk(NamedTuple):
    """Where the walk is, and what it met.

    position: of the byte after the segment met last. marker: that segment's, 0 for none yet.
    frame: the last frame header, from its marker's second byte on.
    """

    position: tf.Tensor
    marker: tf.Tensor
    frame: tf.Tensor
    exif: tf.Tensor
    xmp: tf.Tensor


def jpeg_header(encoded: tf.Tensor) -> FileHeader:
    """Of the bytes (string []) of a JPEG file."""
    nothing = tf.constant("")
    walk = tf.while_loop(
        lambda walk: (
            (walk.marker != _SCAN) & (walk.marker != _END) & (walk.position < length_of(encoded))
        ),
        lambda walk: (_step(encoded, walk),),
        (_Walk(tf.constant(2, tf.int64), tf.constant(0, tf.int64), nothing, nothing, nothing),),
        maximum_iterations=_MOST_SEGMENTS,
    )[0]
    # Marker, length (2 bytes), bits of a sample, height (2), width (2), components.
    frame = numbers(walk.frame, 9)
    kind, bits, channels = frame[0], frame[3], frame[8]
    is_over = (walk.marker == _END) | (walk.position >= length_of(encoded))
    fault = first_fault(
        (
            (walk.marker != _SCAN) & is_over,
            "expected a JPEG with pixels, received one that ends before them",
        ),
        (
            walk.marker != _SCAN,
            f"expected a JPEG's pixels after at most {_MOST_SEGMENTS} segments, received more",
        ),
        (
            tf.reduce_all(kind != _DECODED) | (bits != 8),
            said(
                "expected a baseline, extended or progressive JPEG of 8 bits, received bits and "
                "frame marker",
                tf.stack([bits, kind]),
            ),
        ),
        (
            tf.reduce_all(channels != (1, 3, 4)),
            said("expected a JPEG of 1, 3 or 4 components, received", channels),
        ),
    )
    return FileHeader(
        sides=tf.stack([unsigned(frame[4:6]), unsigned(frame[6:8])]),
        channels=tf.cast(channels, tf.int32),
        is_progressive=tf.reduce_any(kind == _PROGRESSIVE),
        exif=walk.exif,
        xmp=walk.xmp,
        fault=fault,
    )


def _step(encoded: tf.Tensor, walk: _Walk) -> _Walk:
    """To the end of the next segment, or of the window if no marker stands in it."""
    window = numbers(part(encoded, walk.position, _WINDOW), _WINDOW)
    # 0xFF may be repeated before a marker; after a 0 it is none.
    is_marker = (window[:-1] == 0xFF) & (window[1:] != 0xFF) & (window[1:] != 0)
    is_found = tf.reduce_any(is_marker)
    skipped = tf.where(is_found, tf.argmax(is_marker), _WINDOW - 1)
    start = walk.position + skipped
    head = numbers(part(encoded, start, 4), 4)
    marker = tf.where(is_found, head[1], 0)
    is_alone = ((marker >= _FIRST_RESTART) & (marker <= _END)) | (marker == _TEMPORARY)
    has_body = is_found & ~is_alone
    length = tf.where(has_body, tf.maximum(unsigned(head[2:4]), 2), 0)
    body = part(encoded, start + 4, length - 2)
    is_exif = (marker == _APP1) & begins_with(body, _EXIF)
    is_xmp = (marker == _APP1) & begins_with(body, _XMP)
    is_frame = (marker >= _FRAMES[0]) & (marker <= _FRAMES[1]) & tf.reduce_all(marker != _NO_FRAMES)
    return _Walk(
        position=start + tf.where(is_found, 2 + length, 0),
        marker=marker,
        frame=tf.where(is_frame, part(encoded, start + 1, 9), walk.frame),
        exif=tf.where(is_exif, _continued(walk.exif, body), walk.exif),
        xmp=tf.where(is_xmp, part(body, len(_XMP), ALL), walk.xmp),
    )


def _continued(exif: tf.Tensor, body: tf.Tensor) -> tf.Tensor:
    """An Exif block longer than a segment goes on in the next; one too long is refused later."""
    more = tf.where(length_of(exif) > MOST_EXIF_BYTES, "", part(body, len(_EXIF), ALL))
    return tf.strings.join([exif, more])
