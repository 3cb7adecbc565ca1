"""Parts of a file's bytes (string []) as TensorFlow operations.

What lies beyond the end reads as nothing, or as zero; only decoders raise for a file cut short.
Offsets and lengths are int64.
"""

import tensorflow as tf

ALL = 2**62
"""A length that reaches the end of every file."""


def length_of(text: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.strings.length(text), tf.int64)


def part(text: tf.Tensor, start: int | tf.Tensor, length: int | tf.Tensor) -> tf.Tensor:
    """string []: at most `length` bytes from offset `start` on."""
    start = tf.minimum(tf.cast(start, tf.int64), length_of(text))
    return tf.strings.substr(text, start, tf.cast(length, tf.int64))


def begins_with(text: tf.Tensor, *signatures: bytes) -> tf.Tensor:
    """bool []: whether one of the signatures stands at the start."""
    return tf.reduce_any(
        [tf.strings.substr(text, 0, len(signature)) == signature for signature in signatures]
    )


def numbers(text: tf.Tensor, count: int) -> tf.Tensor:
    """int64 [count]: the first bytes, 0 to 255 each."""
    return tf.cast(tf.io.decode_raw(text, tf.uint8, fixed_length=count), tf.int64)


def unsigned(digits: tf.Tensor, *, is_little: bool | tf.Tensor = False) -> tf.Tensor:
    """int64 [...]: the numbers that the last axis of bytes int64 [..., n] spells, n at most 4."""
    weights = tf.constant([1 << 24, 1 << 16, 1 << 8, 1], tf.int64)[-digits.shape[-1] :]
    return tf.reduce_sum(digits * tf.where(is_little, weights[::-1], weights), axis=-1)
