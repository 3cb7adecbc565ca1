"""A trained run as files that need nothing of this project.

<output>/saved_model/     encoded images in, names and scores of the best labels out
<output>/model.keras      the network alone: images in [-1, 1] in, logits out
<output>/labels.parquet   names by class id
<output>/export.json      where the weights come from
"""

import importlib.metadata
import json
import shutil
from pathlib import Path

import keras
import pyarrow.parquet as pq
import tensorflow as tf

from deploy.errors import DeploymentError
from trainer.augment import central_window, evaluation_image, fitted, to_network_range
from trainer.checkpoint import CheckpointInfo, list_checkpoints
from trainer.config import TrainerConfig
from trainer.device import hide_gpus
from trainer.input_config import FramingConfig
from trainer.predict import load_checkpoint, new_model, top_classes
from trainer.run_directory import LABELS, open_run

SAVED_MODEL = "saved_model"
# 100 megapixels: beyond any camera, and 300 MB decoded.
MAX_PIXELS = 100_000_000
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def export(run: Path, output: Path, *, step: int | None = None, top_k: int = 5) -> Path:
    """Writes the Polyak-averaged weights of a checkpoint in both formats.

    Args:
        output: a new or empty directory.
        step: which checkpoint; None for the newest.
        top_k: labels that the SavedModel returns for an image.

    Returns:
        The SavedModel's directory.

    Raises:
        TrainingError: there is no such run.
        CheckpointError: the checkpoint is damaged.
        DeploymentError: the run has no such checkpoint, or `output` holds something already.
    """
    description = open_run(run)
    checkpoint = _choose(run, step)
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise DeploymentError(f"{output}: expected a new or empty directory; it is not empty")
    hide_gpus()
    network = new_model(description)
    load_checkpoint(network, checkpoint.path, averaged=True)
    labels = pq.read_table(run / LABELS).column("name").to_pylist()
    unfinished = output.with_name(f".{output.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    classifier = ImageClassifier(network, labels, description.trainer, top_k)
    tf.saved_model.save(
        classifier,
        str(unfinished / SAVED_MODEL),
        signatures={"serving_default": classifier.classify},
    )
    network.save(unfinished / "model.keras")
    shutil.copyfile(run / LABELS, unfinished / LABELS)
    origin = {
        "run": str(run.absolute()),
        "step": checkpoint.step,
        "samples": checkpoint.samples,
        "dataset_fingerprint": description.dataset_fingerprint,
        "code_version": importlib.metadata.version("manylabel"),
        "top_k": top_k,
    }
    (unfinished / "export.json").write_text(json.dumps(origin, indent=2) + "\n", encoding="utf-8")
    if output.exists():
        output.rmdir()
    unfinished.rename(output)
    return output / SAVED_MODEL


class ImageClassifier(tf.Module):
    """From encoded images to label names, as one graph."""

    def __init__(
        self, network: keras.Model, labels: list[str], config: TrainerConfig, top_k: int
    ) -> None:
        super().__init__()
        self._network = network
        self._labels = tf.constant(labels)
        self._kind = config.loss.kind
        self._size = config.model.input_size
        self._framing = config.input.framing
        self._top_k = top_k

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="images")])
    def classify(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """The best labels of encoded images.

        Args:
            images: string [B], JPEG or PNG files' bytes.

        Returns:
            labels: string [B, k], best first; scores: float32 [B, k], probabilities.
        """
        pixels = tf.map_fn(
            lambda encoded: network_input(encoded, self._size, self._framing),
            images,
            fn_output_signature=tf.TensorSpec([self._size, self._size, 3], tf.float32),
        )
        logits = self._network(pixels, training=False)
        scores, class_ids = top_classes(logits, self._kind, self._top_k)
        return {"labels": tf.gather(self._labels, class_ids), "scores": scores}


def network_input(encoded: tf.Tensor, size: int, framing: FramingConfig) -> tf.Tensor:
    """JPEG or PNG bytes (string []) to float32 [size, size, 3] in [-1, 1].

    A JPEG goes the way of evaluation. A PNG's transparency is put on white, as preprocessing
    does. An image of more than MAX_PIXELS fails before it is decoded.
    """
    is_png = tf.equal(tf.strings.substr(encoded, 0, len(_PNG_SIGNATURE)), _PNG_SIGNATURE)
    # A PNG's width and height stand at byte 16, big-endian.
    sides = tf.cond(
        is_png,
        lambda: tf.io.decode_raw(tf.strings.substr(encoded, 16, 8), tf.int32, little_endian=False),
        lambda: tf.io.extract_jpeg_shape(encoded)[:2],
    )
    pixels = tf.reduce_prod(tf.cast(sides, tf.int64))
    message = f"expected an image of 1 to {MAX_PIXELS} pixels, received height and width"
    with tf.control_dependencies(
        [tf.debugging.Assert((pixels > 0) & (pixels <= MAX_PIXELS), [message, sides])]
    ):
        encoded = tf.identity(encoded)
    return tf.cond(
        is_png,
        lambda: _png_input(encoded, size, framing),
        lambda: evaluation_image(encoded, size, framing),
    )


def _png_input(encoded: tf.Tensor, size: int, framing: FramingConfig) -> tf.Tensor:
    pixels = tf.cast(tf.io.decode_png(encoded, channels=4), tf.float32)
    opacity = pixels[..., 3:] / 255.0
    on_white = tf.round(pixels[..., :3] * opacity + 255.0 * (1.0 - opacity))
    top, left, height, width = tf.unstack(central_window(tf.shape(on_white), framing))
    window = on_white[top : top + height, left : left + width]
    return to_network_range(fitted(window, size, framing))


def _choose(run: Path, step: int | None) -> CheckpointInfo:
    found = list_checkpoints(run)
    chosen = [info for info in found if step in (None, info.step)]
    if not chosen:
        steps = ", ".join(str(info.step) for info in found) or "none"
        wanted = "a checkpoint" if step is None else f"a checkpoint of step {step}"
        raise DeploymentError(f"{run}: expected {wanted}, found {steps}")
    return chosen[-1]
