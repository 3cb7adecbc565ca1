"""Which model is meant, found before the seconds that TensorFlow takes to load.

A model is a checkpoint of a run, or what `export` made of one.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from manylabel.deploy.errors import DeploymentError
from manylabel.storage.documents import Document
from manylabel.storage.image_policy import ImageConfig
from manylabel.storage.provenance import code_version
from manylabel.trainer.errors import DamagedCheckpointError
from manylabel.trainer.runs.checkpoint import CheckpointInfo, list_checkpoints
from manylabel.trainer.runs.directory import (
    DESCRIPTION,
    RunDescription,
    check_origin,
    open_run,
    read_labels,
)

SAVED_MODEL = "1"
"""A version by its number: how TensorFlow Serving finds a model below its directory."""

ORIGIN = "export.json"
DEFAULT_TOP_K = 5


class ModelOrigin(Document):
    """Where a model comes from: export.json.

    Attributes:
        run: its directory.
        step: updates applied to the weights; samples: training images in them.
        checkpoint_digest, dataset_digest: what the weights, and what they were learnt from, are.
        top_k: labels that the model returns for an image, fewer where there are fewer classes.
        images: how the dataset stores images; new ones are to be seen alike.
    """

    NOUN: ClassVar[str] = "the origin of an exported model"
    REMEDY: ClassVar[str] = "export it again"

    format_version: Literal[3] = 3
    run: str
    step: int
    samples: int
    checkpoint_digest: str
    dataset_digest: str
    code_version: str
    top_k: int
    images: ImageConfig


@dataclass(frozen=True)
class TrainedModel:
    """A checkpoint of a run, with what is needed to use it.

    Attributes:
        labels: names by class id.
    """

    run: Path
    description: RunDescription
    checkpoint: CheckpointInfo
    labels: list[str]
    origin: ModelOrigin


@dataclass(frozen=True)
class ExportedModel:
    """A directory that `export` made."""

    directory: Path
    origin: ModelOrigin


def find_exported(directory: Path, top_k: int | None) -> ExportedModel:
    """An exported model.

    Args:
        top_k: labels wanted of an image; None for as many as it returns.

    Raises:
        DeploymentError: it is not whole, or returns fewer labels.
        DocumentError: its origin is damaged or of another format version.
    """
    origin = ModelOrigin.read(directory / ORIGIN)
    if not (directory / SAVED_MODEL / "saved_model.pb").is_file():
        raise DeploymentError(
            f"{directory}: expected the model in {SAVED_MODEL}, found none; export it again"
        )
    if top_k is not None and top_k > origin.top_k:
        raise DeploymentError(
            f"{directory}: expected at most the {origin.top_k} labels of an image that it was "
            f"exported with, received {top_k}; export it with --top-k {top_k}, or predict from "
            f"its run ({origin.run})"
        )
    return ExportedModel(directory, origin)


def find_trained(run: Path, step: int | None, top_k: int) -> TrainedModel:
    """A checkpoint of a run.

    Args:
        step: which checkpoint; None for the newest.
        top_k: labels wanted of an image.

    Raises:
        TrainingError: there is no such run, or its labels or the checkpoint are of another one.
        CheckpointError: storage does not answer, or a checkpoint is of another format version.
        StorageError: a file of the run is damaged.
        DeploymentError: the run has no such checkpoint, or does not say how its dataset was made.
    """
    description = open_run(run)
    checkpoint = _choose(run, step)
    policy = _image_policy(run, description)
    labels = read_labels(run, description).column("name").to_pylist()
    check_origin(checkpoint, description)
    origin = ModelOrigin(
        run=str(run.absolute()),
        step=checkpoint.step,
        samples=checkpoint.samples,
        checkpoint_digest=checkpoint.digest,
        dataset_digest=description.dataset_digest,
        code_version=code_version(),
        top_k=top_k,
        images=policy,
    )
    return TrainedModel(run, description, checkpoint, labels, origin)


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
