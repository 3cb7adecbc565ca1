"""What the benchmarks on a GPU share: whether there is one, and a batch to compute on."""

import subprocess
from typing import Any

import numpy as np

CLASSES = 1000
LABELS_AN_IMAGE = 3


def gpu_is_here() -> bool:
    """Whether the driver lists a GPU; if not, says so. Asked without TensorFlow, which the sides
    load in processes of their own."""
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], stdout=subprocess.PIPE, text=True).stdout
    except FileNotFoundError:
        listed = ""
    print(listed.strip() or "there is no GPU here: nothing is measured", flush=True)
    return bool(listed.strip())


def a_batch(batch: int, size: int) -> Any:
    """Smooth pictures with noise, and three labels each."""
    import tensorflow as tf

    from manylabel.trainer.records.batches import SparseLabels

    random = np.random.default_rng(batch)
    coarse = random.uniform(-1, 1, (batch, 8, 8, 3)).astype(np.float32)
    with tf.device("/CPU:0"):
        images = 0.8 * tf.image.resize(coarse, (size, size), "bicubic")
        images += random.normal(0, 0.1, images.shape).astype(np.float32)
        classes = [random.choice(CLASSES, LABELS_AN_IMAGE, replace=False) for _ in range(batch)]
        labels = SparseLabels(
            tf.constant(np.repeat(np.arange(batch), LABELS_AN_IMAGE), tf.int64),
            tf.constant(np.concatenate(classes), tf.int64),
            tf.ones([batch * LABELS_AN_IMAGE]),
        )
        return tf.clip_by_value(images, -1, 1), labels
