"""What an image file says of its picture before anything is decoded."""

from typing import NamedTuple

import tensorflow as tf


class FileHeader(NamedTuple):
    """Read by `jpeg_header` or `png_header`, alike for both.

    Attributes:
        sides: int64 [2], height and width as stored, in pixels.
        channels: int32 []. JPEG: 1 is grey, 3 colours, 4 inks. PNG: 3 is opaque, 4 has alpha.
        is_progressive: bool []. JPEG alone.
        exif: string [], the bytes of all Exif segments or of the eXIf chunk; "" where none is.
        xmp: string [], the last XMP packet; "" where none is.
        fault: string []: why this file cannot be shown as preprocessing shows it; "" if it can.
    """

    sides: tf.Tensor
    channels: tf.Tensor
    is_progressive: tf.Tensor
    exif: tf.Tensor
    xmp: tf.Tensor
    fault: tf.Tensor


def no_header() -> FileHeader:
    """Of a file that is not looked into."""
    nothing = tf.constant("")
    return FileHeader(
        tf.zeros([2], tf.int64), tf.constant(3), tf.constant(False), nothing, nothing, nothing
    )


def first_fault(*found: tuple[tf.Tensor, tf.Tensor | str]) -> tf.Tensor:
    """string []: the text beside the first condition (bool []) that holds; "" where none does."""
    fault = tf.constant("")
    for is_so, text in reversed(found):
        fault = tf.where(is_so, text, fault)
    return fault


def said(*parts: str | tf.Tensor) -> tf.Tensor:
    """string []: a message of words and numbers (any integers; vectors as "1 2 3")."""
    texts = [
        part
        if isinstance(part, str)
        else tf.strings.reduce_join(tf.strings.as_string(part), separator=" ")
        for part in parts
    ]
    return tf.strings.join(texts, separator=" ")
