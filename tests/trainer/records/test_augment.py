"""Geometry and colour against Pillow and NumPy; every setting is seen to act."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from manylabel.trainer.records.augment import (
    central_window,
    evaluation_image,
    random_window,
    training_image,
)
from manylabel.trainer.records.config import AugmentationConfig, FramingConfig, RandomResizedCrop

pytestmark = pytest.mark.slow

STILL = {
    "view": {"name": "central"},
    "flip": False,
    "brightness": 0,
    "contrast": 0,
    "saturation": 0,
}
WHOLE = FramingConfig(fit="stretch", central_fraction=1.0, antialias=True)
KEYS = [tf.constant([0, position], tf.int64) for position in range(200)]
ROUNDING = 1.01  # Pillow rounds to whole levels after each of two passes.


def smooth(height, width):
    """A picture whose three channels rise along x, along y and along the diagonal."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack(
        [40 + 150 * x / width, 40 + 150 * y / height, 60 + 70 * (x / width + y / height)], axis=2
    ).astype(np.uint8)


def jpeg(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=100, subsampling=0)
    return tf.constant(file.getvalue())


def levels(image):
    """Back from [-1, 1] to 0-255."""
    return (np.asarray(image) + 1) * 127.5


def pillow(encoded, box, height, width):
    """left, top, right, bottom of the picture, resized with Pillow's antialiased bilinear."""
    cut = Image.open(io.BytesIO(encoded.numpy())).crop(box)
    return np.asarray(cut.resize((width, height), Image.Resampling.BILINEAR), np.float32)


def train(encoded, key, size=32, framing=WHOLE, **fields):
    return levels(training_image(encoded, size, key, framing, AugmentationConfig(**STILL | fields)))


@pytest.mark.parametrize(
    ("height", "width", "fit", "fraction", "box"),
    [
        (100, 60, "crop", 1.0, (0, 20, 60, 80)),
        (60, 100, "crop", 1.0, (20, 0, 80, 60)),
        (100, 60, "crop", 0.5, (15, 35, 45, 65)),
        (100, 60, "stretch", 1.0, (0, 0, 60, 100)),
        (100, 60, "stretch", 0.8, (6, 10, 54, 90)),
        (20, 20, "crop", 1.0, (0, 0, 20, 20)),
    ],
)
def test_central_views_equal_pillow(height, width, fit, fraction, box):
    encoded = jpeg(smooth(height, width))
    framing = FramingConfig(fit=fit, central_fraction=fraction, antialias=True)
    image = evaluation_image(encoded, 32, framing)
    assert image.dtype == tf.float32
    np.testing.assert_allclose(levels(image), pillow(encoded, box, 32, 32), atol=ROUNDING)


def test_padding_keeps_the_whole_picture_between_bars():
    encoded = jpeg(smooth(100, 50))
    for fill in (255, 7):
        framing = FramingConfig(fit="pad", central_fraction=1.0, fill=fill, antialias=True)
        image = levels(evaluation_image(encoded, 32, framing))
        np.testing.assert_allclose(
            image[:, 8:24], pillow(encoded, (0, 0, 50, 100), 32, 16), atol=ROUNDING
        )
        np.testing.assert_allclose(image[:, :8], fill, atol=1e-4)
        np.testing.assert_allclose(image[:, 24:], fill, atol=1e-4)
    # 500 to 1: a line of one pixel, not of none.
    thin = levels(evaluation_image(jpeg(smooth(2, 1000)), 32, framing))
    assert np.count_nonzero((np.abs(thin - 7) > 1).any(axis=(1, 2))) == 1


def test_the_range_is_minus_one_to_one():
    black_and_white = np.zeros((32, 32, 3), np.uint8)
    black_and_white[16:] = 255
    image = evaluation_image(jpeg(black_and_white), 32, WHOLE).numpy()
    assert image.min() == -1.0
    assert image.max() == 1.0


def test_grey_jpegs_get_three_channels():
    image = levels(evaluation_image(jpeg(smooth(40, 40)[:, :, 0]), 32, WHOLE))
    assert image.shape == (32, 32, 3)
    assert np.ptp(image, axis=2).max() == 0


def test_antialias_averages_lines_that_plain_bilinear_skips():
    lines = np.zeros((128, 128, 3), np.uint8)
    lines[:, ::4] = 255
    views = [
        levels(
            evaluation_image(
                jpeg(lines), 32, FramingConfig(fit="stretch", central_fraction=1, antialias=on)
            )
        )
        for on in (True, False)
    ]
    np.testing.assert_allclose(views[0][:, 2:-2], 255 / 4, atol=2)
    np.testing.assert_allclose(views[1], 0, atol=2)


def test_the_smallest_fraction_leaves_a_pixel():
    framing = FramingConfig(central_fraction=0.01)
    assert central_window(tf.constant([10, 20, 3]), framing).numpy().tolist() == [4, 9, 1, 1]


@pytest.mark.parametrize(
    ("area", "ratio"), [((0.08, 1.0), (3 / 4, 4 / 3)), ((0.3, 0.5), (1.0, 2.0)), ((1, 1), (1, 1))]
)
def test_random_windows_keep_to_their_ranges(area, ratio):
    crop = RandomResizedCrop(area=area, aspect_ratio=ratio)
    shape = tf.constant([300, 300, 3])
    windows = np.array([random_window(shape, key, crop) for key in KEYS])
    top, left, height, width = windows.T
    assert (windows >= 0).all()
    assert (top + height <= 300).all()
    assert (left + width <= 300).all()
    # A side is rounded to whole pixels, of at least 73.
    assert (np.abs(np.log(width / height)) <= np.log(ratio[1] / min(1, ratio[0])) + 0.02).all()
    assert (width / height >= ratio[0] * 0.98).all()
    parts = height * width / 300**2
    assert (parts >= area[0] * 0.97).all()
    assert (parts <= area[1] * 1.03).all()
    if area[0] < area[1]:
        assert np.ptp(parts) > 0.8 * (area[1] - area[0])
        assert len(np.unique(top)) > 20
        assert len(np.unique(left)) > 20


def test_random_resized_crop_shows_its_window():
    encoded = jpeg(smooth(100, 80))
    view = RandomResizedCrop()
    for key in KEYS[:10]:
        # As training_image derives it.
        window = random_window(tf.constant([100, 80, 3]), tf.random.fold_in(key, 1), view)
        top, left, height, width = window.numpy()
        expected = pillow(encoded, (left, top, left + width, top + height), 32, 32)
        np.testing.assert_allclose(train(encoded, key, view=view), expected, atol=ROUNDING)


def test_shift_moves_the_framed_picture_over_the_fill():
    encoded = jpeg(smooth(32, 32))
    still = train(encoded, KEYS[0])
    framing = WHOLE.model_copy(update={"fill": 9})
    padded = np.pad(still, [(4, 4), (4, 4), (0, 0)], constant_values=9)
    windows = {
        (top, left): padded[top : top + 32, left : left + 32]
        for top in range(9)
        for left in range(9)
    }
    seen = []
    for key in KEYS:
        image = train(encoded, key, framing=framing, view={"name": "shift", "fraction": 0.125})
        [place] = [at for at, w in windows.items() if np.allclose(w, image, atol=1e-3)]
        seen.append(place)
    assert {top for top, _ in seen} == {left for _, left in seen} == set(range(9))
    assert abs(np.corrcoef(np.array(seen).T)[0, 1]) < 0.3


def test_flip_mirrors_every_other_image():
    encoded = jpeg(smooth(32, 32))
    still = train(encoded, KEYS[0])
    mirrored = 0
    for key in KEYS:
        image = train(encoded, key, flip=True)
        if np.array_equal(image, still[:, ::-1]):
            mirrored += 1
        else:
            np.testing.assert_array_equal(image, still)
    assert 70 < mirrored < 130  # 100, give or take 4 standard deviations


def test_brightness_adds_up_to_its_part_of_the_range():
    encoded = jpeg(smooth(32, 32))
    still = train(encoded, KEYS[0])
    added = []
    for key in KEYS:
        difference = train(encoded, key, brightness=0.1) - still
        assert np.ptp(difference) < 1e-3
        added.append(difference.mean())
    assert -25.5 <= min(added) < -23
    assert 23 < max(added) <= 25.5


@pytest.mark.parametrize(
    ("setting", "centre"),
    [
        ("contrast", lambda x: x.mean(axis=(0, 1), keepdims=True)),
        ("saturation", lambda x: x @ np.array([[0.299], [0.587], [0.114]])),
    ],
)
def test_contrast_and_saturation_scale_distances(setting, centre):
    encoded = jpeg(smooth(32, 32))
    still = train(encoded, KEYS[0])
    away = still - centre(still)
    factors = []
    for key in KEYS:
        image = train(encoded, key, **{setting: 0.2})
        factor = ((image - centre(still)) * away).sum() / (away**2).sum()
        np.testing.assert_allclose(image, centre(still) + factor * away, atol=1e-2)
        factors.append(factor)
    assert 0.8 <= min(factors) < 0.82
    assert 1.18 < max(factors) <= 1.2001


def test_strong_colours_are_clipped():
    encoded = jpeg(smooth(32, 32))
    images = np.array([train(encoded, key, brightness=1, contrast=1) for key in KEYS[:20]])
    assert images.min() == 0.0
    assert images.max() == 255.0


def test_equal_keys_give_equal_images():
    encoded = jpeg(smooth(50, 40))
    augmentation = AugmentationConfig()
    images = [training_image(encoded, 32, key, WHOLE, augmentation).numpy() for key in KEYS[:5] * 2]
    np.testing.assert_array_equal(images[:5], images[5:])
    assert len({image.tobytes() for image in images}) == 5
    other_seed = training_image(encoded, 32, tf.constant([1, 0], tf.int64), WHOLE, augmentation)
    assert (other_seed.numpy() != images[0]).any()


def test_training_without_augmentation_is_the_evaluation_view():
    encoded = jpeg(smooth(50, 40))
    for framing in (FramingConfig(), WHOLE, FramingConfig(fit="pad")):
        np.testing.assert_array_equal(
            train(encoded, KEYS[0], framing=framing),
            levels(evaluation_image(encoded, 32, framing)),
        )
