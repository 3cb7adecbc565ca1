"""From an image file to the JPEG that preprocessing stores for it, as TensorFlow operations.

The graph's form of `preprocessing.images.store`: the network learnt from what that writes, so an
exported model must see the same.
"""

import tensorflow as tf

from manylabel.storage.image_policy import ImageConfig

_JPEG_SIGNATURE = b"\xff\xd8\xff"
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_EXIF_SIGNATURE = b"Exif\0\0"
_APP0, _APP1 = 0xE0, 0xE1
_ORIENTATION_TAG = 0x0112
# The orientation stands among the first entries of the first directory of the first segment, some
# 30 to 300 bytes into the file.
_HEAD_BYTES = 4096
_MOST_ENTRIES = 64


def stored_jpeg(encoded: tf.Tensor, policy: ImageConfig) -> tf.Tensor:
    """A JPEG or PNG file (string []) to a JPEG: upright, opaque, its short side within the limit.

    A JPEG that is upright and within the limit is returned as it is; preprocessing encodes it
    again where it is progressive or CMYK. Other images are decoded, put on white, reduced, turned
    upright and encoded again.

    `policy.max_bytes` and `policy.max_pixels` are tested before anything is decoded. They bound
    memory, of which a JPEG takes 4 to 5 bytes a pixel and a PNG 13 (measured on 20 megapixels).

    Evaluating the result raises InvalidArgumentError for an image beyond these bounds, for
    damaged bytes, and for other formats, of which TensorFlow has no decoder for WebP. An
    orientation in a PNG is not looked for.
    """
    head = tf.cast(tf.io.decode_raw(encoded, tf.uint8, fixed_length=_HEAD_BYTES), tf.int32)
    is_png = _starts_with(head, _PNG_SIGNATURE)
    with tf.control_dependencies(_check_file(encoded, head, policy)):
        sides = tf.cond(
            is_png,
            lambda: _png_sides(head),
            lambda: tf.cast(tf.io.extract_jpeg_shape(encoded)[:2], tf.int64),
        )
    with tf.control_dependencies([_check_sides(sides, policy)]):
        encoded = tf.identity(encoded)
    orientation = _orientation(head)
    is_final = (orientation == 1) & (tf.reduce_min(sides) <= policy.short_side_limit)
    return tf.case(
        [
            (is_png, lambda: _encode(_reduced(_png_on_white(encoded), policy), policy)),
            (is_final, lambda: encoded),
        ],
        default=lambda: _encode(_turned(_reduced(_decode(encoded), policy), orientation), policy),
    )


def _check_file(encoded: tf.Tensor, head: tf.Tensor, policy: ImageConfig) -> list[tf.Operation]:
    is_known = _starts_with(head, _JPEG_SIGNATURE) | _starts_with(head, _PNG_SIGNATURE)
    size = tf.strings.length(encoded)
    return [
        tf.debugging.Assert(
            is_known,
            [
                "expected the bytes of a JPEG or PNG file (convert other formats first), "
                "received bytes that begin with",
                head[:8],  # As numbers: Python cannot show a message that is no UTF-8.
            ],
            summarize=8,
        ),
        tf.debugging.Assert(
            size <= policy.max_bytes,
            [f"expected a file of at most {policy.max_bytes} bytes, received", size],
        ),
    ]


def _check_sides(sides: tf.Tensor, policy: ImageConfig) -> tf.Operation:
    pixels = tf.reduce_prod(sides)
    return tf.debugging.Assert(
        (pixels > 0) & (pixels <= policy.max_pixels),
        [f"expected 1 to {policy.max_pixels} pixels, received height and width", sides],
    )


def _starts_with(numbers: tf.Tensor, signature: bytes) -> tf.Tensor:
    return tf.reduce_all(numbers[: len(signature)] == list(signature))


def _png_sides(head: tf.Tensor) -> tf.Tensor:
    """Height and width, int64 [2]: bytes 16 to 24 are the width and height, big-endian."""
    digits = tf.cast(tf.reshape(head[16:24], [2, 4]), tf.int64)
    return tf.reduce_sum(digits * [1 << 24, 1 << 16, 1 << 8, 1], axis=1)[::-1]


def _orientation(head: tf.Tensor) -> tf.Tensor:
    """The EXIF orientation, int32 []: 1 to 8; 1 (upright) where there is none.

    It is looked for where the Exif standard puts it, in the first segment, or in the second after
    a JFIF header.
    """
    after_jfif = 4 + 256 * head[4] + head[5]
    # Rolling instead of slicing: an offset beyond the end is no error.
    segment = tf.roll(head, -tf.where(head[3] == _APP0, after_jfif, 2), 0)
    has_exif = (segment[1] == _APP1) & _starts_with(segment[4:], _EXIF_SIGNATURE)
    # TIFF: byte order, 42, the directory's offset; there, the number of entries, then 12 bytes
    # each: tag, type, count (4 bytes), value (4 bytes, of which a short takes the first 2).
    tiff = segment[4 + len(_EXIF_SIGNATURE) :]
    is_little = tiff[0] == ord("I")
    shorts = tf.reduce_sum(tf.reshape(tiff, [-1, 2]) * tf.where(is_little, [1, 256], [256, 1]), 1)
    directory = tf.roll(shorts, -tf.where(is_little, shorts[2], shorts[3]) // 2, 0)
    entries = tf.reshape(directory[1 : 1 + 6 * _MOST_ENTRIES], [-1, 6])
    is_orientation = (entries[:, 0] == _ORIENTATION_TAG) & (tf.range(_MOST_ENTRIES) < directory[0])
    orientation = tf.reduce_max(tf.where(is_orientation, entries[:, 4], 0))
    return tf.where(has_exif & (orientation >= 1) & (orientation <= 8), orientation, 1)


def _turned(pixels: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    """Pixels [h, w, 3] of an EXIF orientation (Exif 2.32, tag 0x0112), made upright."""

    def is_one_of(*orientations: int) -> tf.Tensor:
        return tf.reduce_any(orientation == orientations)

    pixels = tf.cond(is_one_of(3, 4, 6, 7), lambda: pixels[::-1], lambda: pixels)
    pixels = tf.cond(is_one_of(2, 3, 7, 8), lambda: pixels[:, ::-1], lambda: pixels)
    return tf.cond(orientation >= 5, lambda: tf.transpose(pixels, [1, 0, 2]), lambda: pixels)


def _decode(encoded: tf.Tensor) -> tf.Tensor:
    """JPEG to uint8 [h, w, 3], as trainer.records.augment decodes."""
    return tf.io.decode_jpeg(encoded, channels=3, dct_method="INTEGER_ACCURATE")


def _png_on_white(encoded: tf.Tensor) -> tf.Tensor:
    """PNG to uint8 [h, w, 3]. In 16-bit integers, which take half of the memory of floats."""
    pixels = tf.io.decode_png(encoded, channels=4)
    below_white = tf.cast(255 - pixels[..., :3], tf.uint16)
    opaque_part = below_white * tf.cast(pixels[..., 3:], tf.uint16)  # at most 255²: fits
    return 255 - tf.cast((opaque_part + 127) // 255, tf.uint8)


def _reduced(pixels: tf.Tensor, policy: ImageConfig) -> tf.Tensor:
    """uint8 [h, w, 3], the short side at most the limit; resized as preprocessing does."""
    sides = tf.shape(pixels)[:2]
    short = tf.reduce_min(sides)
    scaled = tf.cast(tf.round(sides * policy.short_side_limit / short), tf.int32)

    def smaller() -> tf.Tensor:
        floats = tf.image.resize(pixels, scaled, "lanczos3", antialias=True)
        return tf.saturate_cast(tf.round(floats), tf.uint8)

    return tf.cond(short > policy.short_side_limit, smaller, lambda: pixels)


def _encode(pixels: tf.Tensor, policy: ImageConfig) -> tf.Tensor:
    """The network learnt from JPEGs of this quality, whatever the original was."""
    return tf.io.encode_jpeg(pixels, format="rgb", quality=policy.jpeg_quality)
