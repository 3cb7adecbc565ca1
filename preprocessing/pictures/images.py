"""The image policy: what an image looks like, and what is stored for it.

Which bytes are accepted, `opening` says.
"""

import io
import struct
from dataclasses import dataclass, replace

import numpy as np
from PIL import ExifTags, Image
from PIL.PngImagePlugin import PngImageFile

from manylabel.preprocessing.pictures.opening import with_image
from manylabel.storage.image_policy import ImageConfig

_HASH_SIZE = (9, 8)  # Columns, rows: eight differences in each of eight rows.
_HASH_DRAFT_SIDE = 64
"""Pixels. JPEGs are decoded at this size or more for the hash: eight samples behind each value."""

_DRAFT_MARGIN = 2
"""A JPEG is decoded at a reduced scale that is at least this many times the final size, as in
Pillow's `thumbnail`: below it the decoder's box filter would show."""

_JPEG_BYTES_PER_PIXEL = 0.25
"""Of photographs at quality 90 with Pillow's halved chroma, roughly; clip art takes half of it."""

_TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What makes an image of each EXIF orientation upright (Exif 2.32, tag 0x0112)."""

_GREY_STEPS = {"L;2": 85, "L;4": 17}
"""Grey PNGs of 2 and 4 bits: how many levels of 255 one of theirs is."""


@dataclass(frozen=True, slots=True)
class StoredImage:
    """JPEG bytes as they go into a record; sizes in pixels."""

    encoded: bytes
    height: int
    width: int


@dataclass(frozen=True, slots=True)
class ExaminedImage:
    """What is known of an image before it is stored.

    Attributes:
        perceptual_hash: Eight bytes, see `examine`.
        stored_bytes: About how long `StoredImage.encoded` will be; exact where nothing changes.
        remarks: What the decoder warned of, and what it was read without.
    """

    perceptual_hash: bytes
    stored_bytes: int
    remarks: tuple[str, ...] = ()


def examine(data: bytes, policy: ImageConfig) -> ExaminedImage:
    """Decodes an image fully and returns its perceptual hash (dHash), and what it will take.

    The picture is reduced to 9×8 grey values; each bit of the hash says whether a value is less
    than its right neighbour. Scale, format and compression change few bits.

    Raises:
        ImageRejectedError: the image fails the policy; `store` accepts exactly what this accepts.
    """
    examined, remarks = with_image(data, policy, _examine)
    return replace(examined, remarks=tuple(remarks))


def _examine(image: Image.Image, data: bytes, policy: ImageConfig) -> ExaminedImage:
    stored_bytes = _stored_bytes(image, data, policy)
    _draft(image, _HASH_DRAFT_SIDE)
    small = _upright_rgb(image).convert("L").resize(_HASH_SIZE, Image.Resampling.BOX)
    grey = np.asarray(small)
    return ExaminedImage(np.packbits(grey[:, :-1] < grey[:, 1:]).tobytes(), stored_bytes)


def _stored_bytes(image: Image.Image, data: bytes, policy: ImageConfig) -> int:
    width, height = image.size
    if min(width, height) <= policy.short_side_limit:
        if _is_plain_jpeg(image):
            return len(data)
    else:
        width, height = _reduced_size(width, height, policy.short_side_limit)
    return max(1, round(width * height * _JPEG_BYTES_PER_PIXEL))


def store(data: bytes, policy: ImageConfig) -> StoredImage:
    """The JPEG to write for an image: the same bytes when nothing has to change.

    Nothing has to change for a baseline JPEG, grey or RGB, upright and within the size limit; its
    pixels are then not decoded here.

    Raises:
        ImageRejectedError: the image fails the policy.
    """
    return with_image(data, policy, _store)[0]


def _store(image: Image.Image, data: bytes, policy: ImageConfig) -> StoredImage:
    width, height = image.size
    too_large = min(width, height) > policy.short_side_limit
    if not too_large and _is_plain_jpeg(image):
        return StoredImage(data, height, width)
    _draft(image, _DRAFT_MARGIN * policy.short_side_limit)
    picture = _upright_rgb(image)
    if too_large:
        if _orientation(image) >= 5:  # These swap the sides.
            width, height = height, width
        size = _reduced_size(width, height, policy.short_side_limit)
        # Here: the compiler behind it takes a third of a second and 100 MB.
        from manylabel.preprocessing.pictures.resampling import reduced

        picture = reduced(picture, size, policy.resampling)
    encoded = io.BytesIO()
    # Else Pillow copies the image's comment, and fails on one that a JPEG cannot hold.
    picture.save(encoded, "JPEG", quality=policy.jpeg_quality, comment=b"")
    return StoredImage(encoded.getvalue(), picture.height, picture.width)


def _is_plain_jpeg(image: Image.Image) -> bool:
    return (
        image.format == "JPEG"
        and image.mode in ("L", "RGB")
        and "progressive" not in image.info
        and _orientation(image) == 1
    )


def _draft(image: Image.Image, short_side: int) -> None:
    """Lets a JPEG be decoded at 1/2, 1/4 or 1/8 while its short side stays at least `short_side`.

    The scaling happens on the transform's coefficients, which is several times faster, and every
    coefficient is still read, so damage is still found. Other formats ignore it.
    """
    scale = short_side / min(image.size)
    image.draft(None, (int(image.width * scale), int(image.height * scale)))


def _upright_rgb(image: Image.Image) -> Image.Image:
    """Decodes; applies the EXIF orientation, composites alpha on white, converts to RGB."""
    # Of the tile, which loading discards.
    layout = image.tile[0].args if isinstance(image, PngImageFile) else None
    image.load()
    if isinstance(layout, str) and layout in _GREY_STEPS and "transparency" in image.info:
        # Pillow scales the samples to 8 bits, and not the transparent one beside them.
        image.info["transparency"] *= _GREY_STEPS[layout]
    turn = _TRANSPOSE.get(_orientation(image))  # The image made from 16 bits has no EXIF.
    if image.mode.startswith("I"):
        image = _grey_from_16_bits(image)
    if image.has_transparency_data:
        colour = image.convert("RGBA")
        white = Image.new("RGBA", colour.size, "white")
        picture = Image.alpha_composite(white, colour).convert("RGB")
    else:
        picture = image if image.mode == "RGB" else image.convert("RGB")  # That would copy it.
    return picture.transpose(turn) if turn is not None else picture


def _grey_from_16_bits(image: Image.Image) -> Image.Image:
    """65535 becomes 255. Pillow's own conversion clips everything above 255 to white."""
    values = np.asarray(image).astype(np.uint32)
    grey = (values * 255 + 32767) // 65535
    if "transparency" in image.info:
        grey[values == image.info["transparency"]] = 255
    return Image.fromarray(grey.astype(np.uint8))


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; 1 (upright) when there is none or it cannot be read."""
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    except (SyntaxError, ValueError, OSError, KeyError, struct.error):
        # Damaged metadata beside sound pixels: show them as they are.
        return 1
    return orientation if orientation in _TRANSPOSE else 1


def _reduced_size(width: int, height: int, short_side: int) -> tuple[int, int]:
    """Width and height with the short side at `short_side` and the proportions kept."""
    short = min(width, height)
    return round(width * short_side / short), round(height * short_side / short)
