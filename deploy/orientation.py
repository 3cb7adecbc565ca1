"""Which way up a picture is meant to be shown: from Exif, else from XMP, as Pillow reads them."""

from typing import NamedTuple

import tensorflow as tf

from manylabel.deploy.byte_strings import begins_with, length_of, numbers, part, unsigned
from manylabel.deploy.file_header import first_fault, said

# Byte order and 42; the last three are wrong, and read by Pillow all the same.
_TIFF_SIGNATURES = (b"II*\0", b"MM\0*", b"II\0*", b"MM*\0", b"MM\0+")
MOST_EXIF_BYTES = 1_000_000
"""Beyond a segment's 64 kB cameras hardly write; JPEG has no limit of its own."""

_ORIENTATION_TAG = 0x0112
_SHORT, _LONG = 3, 4
# Bytes of one value of each TIFF type; 0 of a number that stands for none.
_TYPE_BYTES = [0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4, 0, 0, 8]
_ENTRY_BYTES = 12
_XMP_NAME = "tiff:Orientation"


class _Found(NamedTuple):
    """orientation: int64 [], what is written. is_there: bool []. fault: string []."""

    orientation: tf.Tensor
    is_there: tf.Tensor
    fault: tf.Tensor


def orientation_of(exif: tf.Tensor, xmp: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The orientation that a file's metadata give.

    Args:
        exif: string [], the bytes of the Exif block, "" for none.
        xmp: string [], the XMP packet, "" for none.

    Returns:
        int32 [], 1 to 8 as in Exif 2.32, 1 (upright) where none is written or the Exif block
        cannot be read; and string [], "" or why the orientation cannot be told.
    """
    tiff = tf.strings.regex_replace(exif, r"^(?:Exif\x00\x00)+", "")
    is_readable = (length_of(tiff) >= 8) & begins_with(tiff, *_TIFF_SIGNATURES)
    in_exif = _exif_orientation(tiff)
    # Pillow does not look into XMP beside an Exif block that it cannot read.
    written = tf.where(
        is_readable & in_exif.is_there,
        in_exif.orientation,
        tf.where(is_readable | (tiff == ""), _xmp_orientation(xmp), 1),
    )
    is_meant = (written >= 1) & (written <= 8)
    orientation = tf.cast(tf.where(is_meant, written, 1), tf.int32)
    fault = first_fault(
        (
            length_of(exif) > MOST_EXIF_BYTES,
            f"expected at most {MOST_EXIF_BYTES} bytes of Exif, received more; save the picture "
            "without it",
        ),
        (is_readable, in_exif.fault),
    )
    return orientation, fault


def _exif_orientation(tiff: tf.Tensor) -> _Found:
    """From a TIFF header's first directory.

    A TIFF file begins with its byte order, 42, and the directory's offset. There the number of
    entries stands, then each entry: tag, type (2 bytes each), count and value (4 each); a value
    that needs more stands elsewhere, at the offset that is there instead.
    """
    is_little = begins_with(tiff, b"II")
    directory = unsigned(numbers(part(tiff, 4, 4), 4), is_little=is_little)
    entry_count = unsigned(numbers(part(tiff, directory, 2), 2), is_little=is_little)
    entries = part(tiff, directory + 2, _ENTRY_BYTES * entry_count)
    entries = part(entries, 0, length_of(entries) // _ENTRY_BYTES * _ENTRY_BYTES)
    fields = tf.cast(tf.reshape(tf.io.decode_raw(entries, tf.uint8), [-1, _ENTRY_BYTES]), tf.int64)

    def column(start: int, end: int) -> tf.Tensor:
        return unsigned(fields[:, start:end], is_little=is_little)

    tags, types, counts, values = column(0, 2), column(2, 4), column(4, 8), column(8, 12)
    known = tf.where(types < len(_TYPE_BYTES), types, 0)
    sizes = counts * tf.gather(tf.constant(_TYPE_BYTES, tf.int64), known)
    # Pillow reads no further than the first value that lies beyond the end.
    is_cut = (sizes > 4) & (values + sizes > length_of(tiff))
    is_read = tf.cumsum(tf.cast(is_cut, tf.int32)) == 0
    places = tf.where((tags == _ORIENTATION_TAG) & is_read & (sizes > 0))[:, 0]
    is_there = tf.size(places) > 0
    # A row of zeros stands for the entry that is not there; of two, the last counts.
    absent = tf.zeros([1, _ENTRY_BYTES], tf.int64)
    last = tf.concat([absent, tf.gather(fields, places)], axis=0)[-1]
    kind = unsigned(last[2:4], is_little=is_little)
    count = unsigned(last[4:8], is_little=is_little)
    orientation = tf.where(
        kind == _LONG,
        unsigned(last[8:12], is_little=is_little),
        unsigned(last[8:10], is_little=is_little),
    )
    is_plain = ((kind == _SHORT) | (kind == _LONG)) & (count == 1)
    fault = said(
        "expected the Exif orientation as one number of type 3 or 4, received type and count",
        tf.stack([kind, count]),
    )
    return _Found(orientation, is_there, tf.where(is_there & ~is_plain, fault, ""))


def _xmp_orientation(xmp: tf.Tensor) -> tf.Tensor:
    """int64 []: the digit of the first `tiff:Orientation="6` or `tiff:Orientation>6`; 1 for none.

    Looked for as bytes, not with a regular expression: those of TensorFlow want UTF-8.
    """
    after = tf.strings.split(xmp, _XMP_NAME)[1:]
    first = tf.cast(
        tf.io.decode_raw(tf.strings.substr(after, 0, 3), tf.uint8, fixed_length=3), tf.int64
    )
    is_element = first[:, 0] == ord(">")
    is_attribute = (first[:, 0] == ord("=")) & (first[:, 1] == ord('"'))
    digits = tf.where(is_element, first[:, 1], first[:, 2]) - ord("0")
    is_written = (is_element | is_attribute) & (digits >= 0) & (digits <= 9)
    return tf.concat([digits[is_written], tf.ones([1], tf.int64)], axis=0)[0]
