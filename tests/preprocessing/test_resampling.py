"""Reducing pictures, against Pillow byte for byte and against the definition of an area's mean."""

import numpy as np
import pytest
from PIL import Image

from manylabel.preprocessing.pictures.resampling import reduced
from manylabel.storage.image_policy import Resampling


def noise(width, height, *, hard=False):
    """Hard: black and white alone, from which Lanczos overshoots both ends."""
    values = np.random.default_rng([width, height]).integers(0, 256, (height, width, 3), np.uint8)
    return Image.fromarray(np.where(values > 127, 255, 0).astype(np.uint8) if hard else values)


@pytest.mark.parametrize("hard", [False, True])
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ((500, 375), (427, 320)),
        ((375, 500), (320, 427)),
        ((41, 40), (33, 32)),
        ((64, 33), (64, 32)),  # one side stays
        ((33, 523), (32, 507)),  # more lines than are copied at once
        ((190, 95), (64, 32)),  # just below the ratio at which whole pixels are averaged first
        ((400, 200), (64, 32)),
        ((615, 662), (206, 30)),  # along one side only, to a part of a pixel
        ((801, 399), (24, 12)),
        ((9, 9), (8, 8)),
    ],
)
def test_lanczos_gives_the_bytes_of_pillow(old, new, hard):
    picture = noise(*old, hard=hard)
    expected = picture.resize(new, Image.Resampling.LANCZOS, reducing_gap=3.0)
    assert reduced(picture, new, Resampling.LANCZOS).tobytes() == expected.tobytes()


def overlaps(old, new):
    """[new, old]: which part of each new pixel each old one covers."""
    edges = np.arange(new + 1) * old / new
    left = np.maximum(edges[:-1, np.newaxis], np.arange(old))
    right = np.minimum(edges[1:, np.newaxis], np.arange(old) + 1)
    return np.maximum(right - left, 0) * new / old


@pytest.mark.parametrize(
    ("old", "new"), [((61, 40), (26, 17)), ((96, 64), (48, 32)), ((41, 40), (33, 32))]
)
def test_area_is_the_mean_of_what_a_pixel_covers(old, new):
    picture = noise(*old)
    pixels = np.asarray(picture, np.float64)
    down, across = overlaps(old[1], new[1]), overlaps(old[0], new[0])
    expected = np.einsum("yh,hwc,xw->yxc", down, pixels, across)
    found = np.asarray(reduced(picture, new, Resampling.AREA), np.float64)
    # Rounded twice: along lines, and along columns.
    assert np.abs(found - expected).max() <= 1


@pytest.mark.parametrize("resampling", Resampling)
def test_one_colour_stays(resampling):
    plain = Image.new("RGB", (903, 700), (255, 1, 128))
    small = reduced(plain, (41, 32), resampling)
    assert small.getcolors() == [(41 * 32, (255, 1, 128))]
