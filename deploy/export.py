"""A trained run as files that need nothing of this project.

<output>/saved_model/     encoded images in, names and scores of the best labels out, and faults
<output>/model.keras      the network alone: images in [-1, 1] in, logits out. Keras has no layer
                          that decodes, or that crops as evaluation does, and loads no code.
<output>/labels.parquet   names by class id
<output>/export.json      where the weights come from, and how the dataset stores images
"""

import shutil
from pathlib import Path

import tensorflow as tf

from manylabel.deploy.classifier import ImageClassifier
from manylabel.deploy.errors import DeploymentError
from manylabel.deploy.origin import DEFAULT_TOP_K, ORIGIN, SAVED_MODEL, find_trained
from manylabel.trainer.runs.directory import LABELS


def export(run: Path, output: Path, *, step: int | None = None, top_k: int = DEFAULT_TOP_K) -> Path:
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
    model = find_trained(run, step, top_k)
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise DeploymentError(f"{output}: expected a new or empty directory; it is not empty")
    # Not on a GPU, which may be full of a training job. The exported graph is bound to no device.
    with tf.device("/CPU:0"):
        classifier = ImageClassifier(model)
    unfinished = output.with_name(f".{output.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    try:
        tf.saved_model.save(
            classifier,
            str(unfinished / SAVED_MODEL),
            signatures={"serving_default": classifier.classify},
        )
        classifier.network.save(unfinished / "model.keras")
        shutil.copyfile(run / LABELS, unfinished / LABELS)
        model.origin.write(unfinished / ORIGIN)
        if output.exists():
            output.rmdir()
        unfinished.rename(output)
    finally:  # whatever happened, also a stop: it is complete by now, or absent
        shutil.rmtree(unfinished, ignore_errors=True)
    return output / SAVED_MODEL
