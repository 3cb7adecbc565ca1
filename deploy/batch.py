"""A batch of image files to the network's inputs, with the fault of each file that is refused."""

import tensorflow as tf

from manylabel.deploy.stored import stored_jpeg
from manylabel.storage.image_policy import ImageConfig
from manylabel.trainer.records.augment import evaluation_image
from manylabel.trainer.records.config import FramingConfig

# What else a decoder may fail of, it does not say here.
_DAMAGED = (
    "expected pixels that can be decoded, received a damaged file, one cut short, or one too large "
    "for the memory there is"
)
# Images of a batch that are decoded at the same time; each can take the memory of an image of
# `images.max_pixels`, at its default 650 MB.
_DECODED_AT_ONCE = 4


def network_inputs(
    images: tf.Tensor, policy: ImageConfig, size: int, framing: FramingConfig
) -> tuple[tf.Tensor, tf.Tensor]:
    """Image files (string [B]) to pixels and faults; a bad file costs no other its place.

    Returns:
        Pixels float32 [B, size, size, 3] in [-1, 1], zeros for a file that is refused; and faults
        string [B], "" for a file that is not.
    """
    batch = tf.shape(images, out_type=tf.int64)[0]
    nothing = tf.zeros([size, size, 3])

    @tf.autograph.experimental.do_not_convert  # It would leave files in TMPDIR.
    def prepared(place: tf.Tensor, encoded: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        stored, fault = stored_jpeg(encoded, policy)
        pixels = tf.cond(
            fault == "", lambda: evaluation_image(stored, size, framing), lambda: nothing
        )
        return place, tf.ensure_shape(pixels, nothing.shape), fault

    # A dataset, because it alone goes on after an operation that failed, as decoders do on damage:
    # the image is then missing, and the last element stands in for all that are.
    options = tf.data.Options()
    options.autotune.enabled = False
    options.experimental_optimization.apply_default_optimizations = False
    places, pixels, faults = (
        tf.data.Dataset.from_tensor_slices((tf.range(batch), images))
        .map(prepared, num_parallel_calls=_DECODED_AT_ONCE)
        .ignore_errors()
        .concatenate(tf.data.Dataset.from_tensors((batch, nothing, _DAMAGED)))
        .batch(batch + 1)
        .with_options(options)
        .get_single_element()
    )
    found = tf.size(places) - 1
    rows = tf.tensor_scatter_nd_update(
        tf.fill([batch], found), places[:-1, tf.newaxis], tf.range(found)
    )
    return tf.gather(pixels, rows), tf.gather(faults, rows)
