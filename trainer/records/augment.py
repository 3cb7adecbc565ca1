"""From encoded images to the network's input: central views, and random ones for training.

Runs as TensorFlow graph operations inside a tf.data pipeline or an exported model. Windows are
int32 [4]: top, left, height, width, in pixels of the encoded image.
"""

import tensorflow as tf

from manylabel.trainer.records.config import (
    AugmentationConfig,
    Fit,
    FramingConfig,
    RandomResizedCrop,
    Shift,
)

# ITU-R BT.601 luma, which JPEG uses.
_LUMA = (0.299, 0.587, 0.114)


def evaluation_image(encoded: tf.Tensor, size: int, framing: FramingConfig) -> tf.Tensor:
    """JPEG bytes (string []) to float32 [size, size, 3] in [-1, 1], nothing random."""
    return to_network_range(_framed(encoded, size, framing))


def training_image(
    encoded: tf.Tensor,
    size: int,
    key: tf.Tensor,
    framing: FramingConfig,
    augmentation: AugmentationConfig,
) -> tf.Tensor:
    """JPEG bytes (string []) to float32 [size, size, 3] in [-1, 1].

    key: int64 [2]. Equal keys give equal images: no state is kept, so it does not matter which
    worker draws the image, or how often.
    """
    flip, top, left, *colour = tf.unstack(tf.random.stateless_uniform([6], key, alg="philox"))
    view = augmentation.view
    if isinstance(view, RandomResizedCrop):
        # A key of its own: the operation would start from the same numbers as the draws above.
        window = random_window(
            tf.io.extract_jpeg_shape(encoded), tf.random.fold_in(key, 1, alg="philox"), view
        )
        pixels = _resize(_decode(encoded, window), size, size, framing)
        pixels.set_shape([size, size, 3])
    else:
        pixels = _framed(encoded, size, framing)
    if isinstance(view, Shift):
        pixels = _shifted(pixels, round(view.fraction * size), top, left, framing.fill)
    if augmentation.flip:
        pixels = tf.cond(flip < 0.5, lambda: tf.reverse(pixels, [1]), lambda: pixels)
    return _recoloured(to_network_range(pixels), colour, augmentation)


def central_window(shape: tf.Tensor, framing: FramingConfig) -> tf.Tensor:
    """The window that evaluation sees of an image of shape int32 [height, width, ...]."""
    sides = shape[:2]
    if framing.fit is Fit.CROP:
        sides = tf.repeat(tf.reduce_min(sides), 2)
    kept = tf.round(tf.cast(sides, tf.float32) * framing.central_fraction)
    extent = tf.maximum(tf.cast(kept, tf.int32), 1)
    return tf.concat([(shape[:2] - extent) // 2, extent], axis=0)


def random_window(shape: tf.Tensor, key: tf.Tensor, crop: RandomResizedCrop) -> tf.Tensor:
    """A random window of an image of shape int32 [height, width, 3]; all of it if none fits."""
    begin, extent, _ = tf.image.stateless_sample_distorted_bounding_box(
        shape,
        bounding_boxes=tf.zeros([1, 0, 4]),
        seed=key,
        min_object_covered=0.0,
        aspect_ratio_range=crop.aspect_ratio,
        area_range=crop.area,
        use_image_if_no_bounding_boxes=True,
    )
    return tf.concat([begin[:2], extent[:2]], axis=0)


def fitted(pixels: tf.Tensor, size: int, framing: FramingConfig) -> tf.Tensor:
    """A central window's pixels (any numeric [h, w, 3], 0-255) to float32 [size, size, 3]."""
    if framing.fit is Fit.PAD:
        sides = tf.cast(tf.shape(pixels)[:2], tf.float32)
        scaled = tf.cast(tf.round(sides * (size / tf.reduce_max(sides))), tf.int32)
        scaled = tf.maximum(scaled, 1)
        pixels = _resize(pixels, scaled[0], scaled[1], framing)
        before = (size - scaled) // 2
        bars = tf.stack([before, size - scaled - before], axis=1)
        pixels = tf.pad(pixels, tf.pad(bars, [[0, 1], [0, 0]]), constant_values=framing.fill)
    else:
        pixels = _resize(pixels, size, size, framing)
    return tf.ensure_shape(pixels, [size, size, 3])


def to_network_range(pixels: tf.Tensor) -> tf.Tensor:
    """0-255 to [-1, 1], as Inception and keras.applications' Xception expect."""
    return pixels / 127.5 - 1.0


def _framed(encoded: tf.Tensor, size: int, framing: FramingConfig) -> tf.Tensor:
    window = central_window(tf.io.extract_jpeg_shape(encoded), framing)
    return fitted(_decode(encoded, window), size, framing)


def _decode(encoded: tf.Tensor, window: tf.Tensor) -> tf.Tensor:
    """uint8 [h, w, 3]; only the window's part of the image is decoded.

    TensorFlow's own choice of transform is up to 6 levels of 255 from what every other reader of
    JPEG gives, for 2% more images a second.
    """
    return tf.io.decode_and_crop_jpeg(encoded, window, channels=3, dct_method="INTEGER_ACCURATE")


def _resize(
    pixels: tf.Tensor, height: int | tf.Tensor, width: int | tf.Tensor, framing: FramingConfig
) -> tf.Tensor:
    return tf.image.resize(pixels, [height, width], "bilinear", antialias=framing.antialias)


def _shifted(pixels: tf.Tensor, most: int, top: tf.Tensor, left: tf.Tensor, fill: int) -> tf.Tensor:
    """Moved by -most to most pixels each way; top and left are uniform in [0, 1)."""
    shape = pixels.shape
    padded = tf.pad(pixels, [[most, most], [most, most], [0, 0]], constant_values=fill)
    begin = tf.cast(tf.stack([top, left, 0.0]) * (2 * most + 1), tf.int32)
    return tf.ensure_shape(tf.slice(padded, begin, shape), shape)


def _recoloured(
    image: tf.Tensor, draws: list[tf.Tensor], augmentation: AugmentationConfig
) -> tf.Tensor:
    """Changes brightness, contrast and saturation of an image in [-1, 1], then clips it.

    A colour x becomes x + b, then m + c (x - m) with the image's mean m, then g + s (x - g) with
    its grey g. All three are affine in x, so one matrix does them: each pass over the pixels
    costs far more than its arithmetic. draws: three numbers uniform in [0, 1).
    """
    if not (augmentation.brightness or augmentation.contrast or augmentation.saturation):
        return image
    symmetric = [2.0 * draw - 1.0 for draw in draws]
    brightness = 2.0 * augmentation.brightness * symmetric[0]
    contrast = 1.0 + augmentation.contrast * symmetric[1]
    saturation = 1.0 + augmentation.saturation * symmetric[2]
    colours = tf.reshape(image, [-1, 3])
    mean = tf.reduce_mean(colours, axis=0, keepdims=True)
    mix = saturation * tf.eye(3) + (1.0 - saturation) * tf.constant(_LUMA)[:, tf.newaxis]
    offset = tf.matmul(brightness + (1.0 - contrast) * mean, mix)
    colours = tf.matmul(colours, contrast * mix) + offset
    return tf.reshape(tf.clip_by_value(colours, -1.0, 1.0), image.shape)
