"""A trained run as files that need nothing of this project.

<output>/saved_model/     encoded images in, names and scores of the best labels out, and faults
<output>/model.keras      the network alone: images in [-1, 1] in, logits out. Keras has no layer
                          that decodes, or that crops as evaluation does, and loads no code.
<output>/labels.parquet   names by class id
<output>/export.json      where the weights come from
"""

import shutil
from pathlib import Path
from typing import ClassVar, Literal

import keras
import tensorflow as tf

from manylabel.deploy.batch import network_inputs
from manylabel.deploy.errors import DeploymentError
from manylabel.storage.documents import Document
from manylabel.storage.image_policy import ImageConfig
from manylabel.storage.provenance import code_version
from manylabel.trainer.config import TrainerConfig
from manylabel.trainer.errors import DamagedCheckpointError
from manylabel.trainer.predict import load_checkpoint, new_model, probabilities, top_classes
from manylabel.trainer.runs.checkpoint import CheckpointInfo, kept, list_checkpoints
from manylabel.trainer.runs.directory import (
    DESCRIPTION,
    LABELS,
    RunDescription,
    check_origin,
    open_run,
    read_labels,
)

SAVED_MODEL = "saved_model"


def export(run: Path, output: Path, *, step: int | None = None, top_k: int = 5) -> Path:
    """Writes the Polyak-averaged weights of a checkpoint in both formats.

    Args:
        output: a new or empty directory.
        step: which checkpoint; None for the newest.
        top_k: labels that the SavedModel returns for an image.

    Returns:
        The SavedModel's directory.

    Raises:
        TrainingError: there is no such run, or its labels or the checkpoint are of another one.
        CheckpointError: the checkpoint is damaged.
        StorageError: another file of the run is.
        DeploymentError: the run has no such checkpoint or does not say how its dataset was made,
            or `output` holds something already.
    """
    description = open_run(run)
    checkpoint = _choose(run, step)
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise DeploymentError(f"{output}: expected a new or empty directory; it is not empty")
    policy = _image_policy(run, description)
    labels = read_labels(run, description).column("name").to_pylist()
    network = _network(checkpoint, description)
    classifier = ImageClassifier(network, labels, description.trainer, policy, top_k)
    origin = ExportedModel(
        run=str(run.absolute()),
        step=checkpoint.step,
        samples=checkpoint.samples,
        checkpoint_digest=checkpoint.digest,
        dataset_digest=description.dataset_digest,
        code_version=code_version(),
        top_k=top_k,
    )
    unfinished = output.with_name(f".{output.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    tf.saved_model.save(
        classifier,
        str(unfinished / SAVED_MODEL),
        signatures={"serving_default": classifier.classify},
    )
    network.save(unfinished / "model.keras")
    shutil.copyfile(run / LABELS, unfinished / LABELS)
    origin.write(unfinished / "export.json")
    if output.exists():
        output.rmdir()
    unfinished.rename(output)
    return output / SAVED_MODEL


def _network(checkpoint: CheckpointInfo, description: RunDescription) -> keras.Model:
    check_origin(checkpoint, description)
    # Not on a GPU, which may be full of a training job. The exported graph is bound to no device.
    with tf.device("/CPU:0"), kept([checkpoint]) as found:
        if not found:
            raise DeploymentError(f"{checkpoint.path}: was removed just now; export again")
        network = new_model(description)
        load_checkpoint(network, checkpoint, averaged=True)
    return network


class ExportedModel(Document):
    """export.json: where an exported model comes from.

    Attributes:
        run: its directory.
        step: updates applied to the exported weights; samples: training images in them.
        checkpoint_digest, dataset_digest: what the weights, and what they were learnt from, are.
        top_k: labels that the SavedModel returns for an image.
    """

    NOUN: ClassVar[str] = "the origin of an exported model"
    REMEDY: ClassVar[str] = "export it again"

    format_version: Literal[1] = 1
    run: str
    step: int
    samples: int
    checkpoint_digest: str
    dataset_digest: str
    code_version: str
    top_k: int


class ImageClassifier(tf.Module):
    """From encoded images to label names, as one graph."""

    def __init__(
        self,
        network: keras.Model,
        labels: list[str],
        config: TrainerConfig,
        policy: ImageConfig,
        top_k: int,
    ) -> None:
        super().__init__()
        self._network = network
        self._labels = tf.constant(labels)
        self._kind = config.loss.kind
        self._size = config.model.input_size
        self._framing = config.input.framing
        self._policy = policy
        self._top_k = top_k

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="images")])
    def classify(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """The best labels of encoded images; a bad image has a fault instead and fails no other.

        Args:
            images: string [B], JPEG or PNG files' bytes.

        Returns:
            labels: string [B, k], best first; scores: float32 [B, k], probabilities. k is smaller
            than asked for where there are fewer classes. faults: string [B], "" or why the image
            is refused; its labels are then "" and its scores 0.
        """
        pixels, faults = network_inputs(images, self._policy, self._size, self._framing)
        logits = self._network(pixels, training=False)
        scores, class_ids = top_classes(logits, self._kind, self._top_k)
        is_seen = (faults == "")[:, tf.newaxis]
        return {
            "labels": tf.where(is_seen, tf.gather(self._labels, class_ids), ""),
            "scores": tf.where(is_seen, probabilities(scores, self._kind), 0.0),
            "faults": faults,
        }


def _image_policy(run: Path, description: RunDescription) -> ImageConfig:
    images = description.dataset_settings.get("images")
    if images is None:
        raise DeploymentError(
            f"{run / DESCRIPTION}: expected how the dataset stores images in "
            "dataset_settings.images, received none; the dataset was not made by `manylabel "
            "preprocess`"
        )
    return ImageConfig.model_validate(images)


def _choose(run: Path, step: int | None) -> CheckpointInfo:
    damaged: list[DamagedCheckpointError] = []
    found = list_checkpoints(run, damaged.append)
    if step is None and damaged:
        raise DeploymentError(
            f"{damaged[-1]}; put a copy of it back, or name another checkpoint with --step"
        )
    chosen = [info for info in found if step in (None, info.step)]
    if not chosen:
        steps = ", ".join(str(info.step) for info in found) or "none"
        wanted = "a checkpoint" if step is None else f"a checkpoint of step {step}"
        raise DeploymentError(f"{run}: expected {wanted}, found {steps}")
    return chosen[-1]
