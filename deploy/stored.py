"""From an image file to the JPEG that preprocessing stores for it, as TensorFlow operations.

The graph's form of `preprocessing.images.store`: the network learnt from what that writes, so an
exported model must see the same.
"""

import tensorflow as tf

from manylabel.deploy.byte_strings import ALL, begins_with, length_of, part
from manylabel.deploy.file_header import FileHeader, first_fault, no_header, said
from manylabel.deploy.jpeg_header import jpeg_header
from manylabel.deploy.orientation import orientation_of
from manylabel.deploy.png_header import png_header
from manylabel.storage.image_policy import JPEG_SIDE_LIMIT, ImageConfig, Resampling

_JPEG_SIGNATURE = b"\xff\xd8\xff"
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_METHODS = {Resampling.LANCZOS: "lanczos3", Resampling.AREA: "area"}
# "Adobe" with transform 0. A later marker of the file's own, with its transform, overrules it.
_ADOBE_SEGMENT = b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0\0"


def stored_jpeg(encoded: tf.Tensor, policy: ImageConfig) -> tuple[tf.Tensor, tf.Tensor]:
    """A JPEG or PNG file (string []) to a JPEG: upright, opaque, its short side within the limit.

    A baseline JPEG, grey or RGB, that is upright and within the limit is returned as it is. Other
    images are decoded, put on white, reduced, turned upright and encoded again.

    `policy.max_bytes` and `policy.max_pixels` are tested before anything is decoded. They bound
    memory, of which a JPEG takes 4 to 5 bytes a pixel and a PNG 13 (measured on 20 megapixels).

    Returns:
        The JPEG, string [], and its fault, string []: "" or, with "" for the JPEG, why the file
        is refused. Refused are files beyond these bounds, other formats, of which TensorFlow has
        no decoder for all, and what would be shown otherwise than in preprocessing.

    Evaluating the result raises InvalidArgumentError where the decoder finds damage.
    """
    is_png = begins_with(encoded, _PNG_SIGNATURE)
    unknown = _fault_of_file(encoded, is_png, policy)
    header = FileHeader(
        *tf.case(
            [
                (unknown != "", no_header),
                (is_png, lambda: png_header(encoded)),
            ],
            default=lambda: jpeg_header(encoded),
        )
    )
    orientation, orientation_fault = orientation_of(header.exif, header.xmp)
    fault = first_fault(
        (unknown != "", unknown),
        (header.fault != "", header.fault),
        *_faults_of_sides(header.sides, policy),
        (orientation_fault != "", orientation_fault),
    )
    is_final = (
        (orientation == 1)
        & (header.channels < 4)
        & ~header.is_progressive
        & (tf.reduce_min(header.sides) <= policy.short_side_limit)
    )

    def recoded() -> tf.Tensor:
        pixels = tf.cond(
            is_png,
            lambda: _decode_png(encoded, header.channels),
            lambda: _decode_jpeg(encoded, header.channels),
        )
        return _encode(_turned(_reduced(pixels, policy), orientation), policy)

    stored = tf.case(
        [
            (fault != "", lambda: tf.constant("")),
            (is_final & ~is_png, lambda: encoded),
        ],
        default=recoded,
    )
    return stored, fault


def _fault_of_file(encoded: tf.Tensor, is_png: tf.Tensor, policy: ImageConfig) -> tf.Tensor:
    size = length_of(encoded)
    return first_fault(
        (
            ~is_png & ~begins_with(encoded, _JPEG_SIGNATURE),
            # As numbers: many programs cannot show a message that is no UTF-8.
            said(
                "expected the bytes of a JPEG or PNG file (convert other formats first), "
                "received bytes that begin with",
                tf.io.decode_raw(part(encoded, 0, 8), tf.uint8),
            ),
        ),
        (
            size > policy.max_bytes,
            said(f"expected a file of at most {policy.max_bytes} bytes, received", size),
        ),
    )


def _faults_of_sides(
    sides: tf.Tensor, policy: ImageConfig
) -> list[tuple[tf.Tensor, tf.Tensor | str]]:
    # Of the sides first: the product of two sides of a PNG can overflow.
    is_too_long = tf.reduce_any(sides > JPEG_SIDE_LIMIT)
    pixels = tf.reduce_prod(sides)
    return [
        (
            ~is_too_long & ((pixels < 1) | (pixels > policy.max_pixels)),
            said(f"expected 1 to {policy.max_pixels} pixels, received height and width", sides),
        ),
        (
            is_too_long,
            said(
                f"expected sides of at most {JPEG_SIDE_LIMIT} pixels, received height and width",
                sides,
            ),
        ),
    ]


def _decode_jpeg(encoded: tf.Tensor, channels: tf.Tensor) -> tf.Tensor:
    """JPEG to uint8 [h, w, 3], as trainer.records.augment decodes.

    Four inks are taken for Adobe's, in which 255 is none, whether or not the file says so, as in
    preprocessing; TensorFlow wants to be told.
    """

    def with_adobe() -> tf.Tensor:
        return tf.strings.join([part(encoded, 0, 2), _ADOBE_SEGMENT, part(encoded, 2, ALL)])

    encoded = tf.cond(channels == 4, with_adobe, lambda: encoded)
    return tf.io.decode_jpeg(encoded, channels=3, dct_method="INTEGER_ACCURATE")


def _decode_png(encoded: tf.Tensor, channels: tf.Tensor) -> tf.Tensor:
    """PNG to uint8 [h, w, 3].

    Alpha is asked for only where there is some: to opaque pictures of 1, 2 or 4 bits TensorFlow
    adds one of 1, 3 or 15 of 255.
    """

    def on_white() -> tf.Tensor:
        pixels = tf.io.decode_png(encoded, channels=4)
        alpha = pixels[..., 3]
        # So it does where it finds the transparency damaged, which is the file's fault.
        is_added = tf.reduce_any([tf.reduce_all(alpha == added) for added in (1, 3, 15)])
        with tf.control_dependencies([tf.debugging.Assert(~is_added, ["damaged transparency"])]):
            return _on_white(pixels)

    return tf.cond(channels == 4, on_white, lambda: tf.io.decode_png(encoded, channels=3))


def _on_white(pixels: tf.Tensor) -> tf.Tensor:
    """uint8 [h, w, 4] to [h, w, 3]. In 16-bit integers, which take half of the memory of floats."""
    below_white = tf.cast(255 - pixels[..., :3], tf.uint16)
    opaque_part = below_white * tf.cast(pixels[..., 3:], tf.uint16)  # at most 255²: fits
    return 255 - tf.cast((opaque_part + 127) // 255, tf.uint8)


def _turned(pixels: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    """Pixels [h, w, 3] of an EXIF orientation (Exif 2.32, tag 0x0112), made upright."""

    def is_one_of(*orientations: int) -> tf.Tensor:
        return tf.reduce_any(orientation == orientations)

    pixels = tf.cond(is_one_of(3, 4, 6, 7), lambda: pixels[::-1], lambda: pixels)
    pixels = tf.cond(is_one_of(2, 3, 7, 8), lambda: pixels[:, ::-1], lambda: pixels)
    return tf.cond(orientation >= 5, lambda: tf.transpose(pixels, [1, 0, 2]), lambda: pixels)


def _reduced(pixels: tf.Tensor, policy: ImageConfig) -> tf.Tensor:
    """uint8 [h, w, 3], the short side at most the limit; resized as preprocessing does."""
    sides = tf.shape(pixels)[:2]
    short = tf.reduce_min(sides)
    scaled = tf.cast(tf.round(sides * policy.short_side_limit / short), tf.int32)

    def smaller() -> tf.Tensor:
        floats = tf.image.resize(pixels, scaled, _METHODS[policy.resampling], antialias=True)
        return tf.saturate_cast(tf.round(floats), tf.uint8)

    return tf.cond(short > policy.short_side_limit, smaller, lambda: pixels)


def _encode(pixels: tf.Tensor, policy: ImageConfig) -> tf.Tensor:
    """The network learnt from JPEGs of this quality, whatever the original was."""
    return tf.io.encode_jpeg(pixels, format="rgb", quality=policy.jpeg_quality)
