"""Which images a dataset accepts and how it stores them.

Kept with the dataset: a model that learnt from it must see new images as it would store them.
"""

from enum import StrEnum

from pydantic import Field

from manylabel.storage.settings import SettingsSection

JPEG_SIDE_LIMIT = 65_500
"""Pixels; libjpeg's JPEG_MAX_DIMENSION. An image may be stored in the size that it has."""


class Resampling(StrEnum):
    """What a pixel of a reduced image is made of.

    LANCZOS: the pixels within three of its widths, by the windowed sinc (Duchon 1979).
    AREA: the mean of what it covers.
    """

    LANCZOS = "lanczos"
    AREA = "area"


class ImageConfig(SettingsSection):
    """Which images are accepted, and how they are stored."""

    short_side_limit: int = Field(
        320,
        ge=8,
        description="Pixels. Larger images are reduced so that their short side is this long, "
        "smaller ones are never enlarged. 320 leaves a margin around Xception's 299 for crops.",
    )
    resampling: Resampling = Field(
        Resampling.LANCZOS,
        description="How larger images are reduced: lanczos keeps the most detail, without "
        "aliasing; area, the mean of the pixels that one covers, is softer and faster.",
    )
    jpeg_quality: int = Field(
        90,
        ge=1,
        le=95,
        description="Of images that are encoded anew, on libjpeg's scale; 95 is the most that "
        "Pillow's documentation recommends.",
    )
    max_pixels: int = Field(
        50_000_000,
        ge=1,
        le=178_956_970,
        description="Width times height, tested on the header before anything is decoded. 50 "
        "megapixels are 150 MB of RGB and more than common cameras make; the upper bound is "
        "Pillow's own limit against decompression bombs.",
    )
    max_bytes: int = Field(
        50_000_000, ge=1, description="Size of the file, tested before it is read."
    )
    min_side: int = Field(
        8, ge=1, description="Pixels; below it are tracking pixels, rules and bullets."
    )
    max_aspect_ratio: float = Field(
        8.0,
        ge=1,
        allow_inf_nan=False,
        description="Long side over short side; beyond it are banners and rulers, of which a "
        "square crop shows next to nothing.",
    )
