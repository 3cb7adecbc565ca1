"""What a run keeps beside its checkpoints, so that each result leads back to its origin."""

import datetime
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import pyarrow as pa
import yaml

from manylabel.storage.atomic import replace_text
from manylabel.storage.dataset import Dataset
from manylabel.storage.documents import Document
from manylabel.storage.manifest import table_digest
from manylabel.storage.provenance import code_version
from manylabel.storage.schema import LABELS_SCHEMA
from manylabel.storage.tables import read_table, write_table
from manylabel.trainer.config import TrainerConfig
from manylabel.trainer.errors import TrainingError
from manylabel.trainer.runs.checkpoint import CheckpointInfo, finished_checkpoints

DESCRIPTION = "run.json"
INITIAL_WEIGHTS = "initial_weights.json"
SETTINGS = "config.yaml"
LABELS = "labels.parquet"
# What may not change when a run is resumed: its stored weights, optimizer state and record
# positions would mean something else, or its checkpoints could not be compared with each other.
_FIXED_SETTINGS = (
    "model",
    "loss",
    "precision",
    "optimizer.name",
    "input.seed",
    "input.shuffle_block",
    "input.shuffle_mix",
    "input.framing",
)


class InitialWeights(Document):
    """What a run took from another training before its first update.

    Attributes:
        location: where it was; a file, a checkpoint, or the name of a network.
        digest: SHA-256 over what was taken; the same for the same weights, wherever they lay.
        variables, values: how many were taken.
        anew: layers of the head that were not there or did not fit, and began anew.
        unused: layers that were there and that the network has no place for.
    """

    NOUN: ClassVar[str] = "the record of a run's initial weights"
    REMEDY: ClassVar[str] = "use the version of manylabel that made the run"

    format_version: Literal[1] = 1
    location: str
    digest: str
    variables: int
    values: int
    anew: tuple[str, ...]
    unused: tuple[str, ...]

    def keep(self, run: Path) -> None:
        """Beside the run."""
        run.mkdir(parents=True, exist_ok=True)
        self.write(run / INITIAL_WEIGHTS)

    def told(self) -> str:
        """One line for the user."""
        parts = [
            f"began with {self.location}: {self.variables} variables with {self.values:,} values "
            f"taken, digest {self.digest[:12]}",
            f"{_listed(self.anew)} anew" if self.anew else "the head as well",
        ]
        if self.unused:
            parts.append(f"no place for {_listed(self.unused)}")
        return "; ".join(parts)


class RunDescription(Document):
    """What a run was made from.

    Attributes:
        dataset: the dataset's root, absolute where it is a local path.
        dataset_digest: its content digest.
        dataset_settings: preprocessing's settings, as in the dataset's manifest.
        labels_digest: of the dataset's label table, which the run keeps a copy of.
        trainer: the resolved settings of the run's last start.
    """

    NOUN: ClassVar[str] = "a run description"
    REMEDY: ClassVar[str] = (
        "use the version of manylabel that made the run, or train another run with --run"
    )

    format_version: Literal[1] = 1
    dataset: str
    dataset_digest: str
    dataset_settings: dict[str, Any]
    labels_digest: str
    num_classes: int
    code_version: str
    created: datetime.datetime
    trainer: TrainerConfig


def open_run(run: Path) -> RunDescription:
    """Reads a run's description.

    Raises:
        TrainingError: there is no run.
        DocumentError: its description is damaged or of another format version.
    """
    try:
        return RunDescription.read(run / DESCRIPTION)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise TrainingError(
            f"{run}: expected a run directory, found no {DESCRIPTION}; "
            "`manylabel runs` lists the runs, `manylabel train` makes one"
        ) from error


def read_initial_weights(run: Path) -> InitialWeights | None:
    """What the run began with; None for one that began at random.

    Raises:
        DocumentError: its record is damaged or of another format version.
    """
    try:
        return InitialWeights.read(run / INITIAL_WEIGHTS)
    except FileNotFoundError:
        return None


def forget_initial_weights(run: Path) -> None:
    """Removes the record of a start that never began."""
    (run / INITIAL_WEIGHTS).unlink(missing_ok=True)


def is_described(run: Path) -> bool:
    """Whether a job has begun to train in this directory."""
    return (run / DESCRIPTION).exists()


def check_run(run: Path, dataset: Dataset, config: TrainerConfig) -> None:
    """Whether a run that is there can go on with a dataset and settings; writes nothing.

    Raises:
        TrainingError: the run was made from another dataset, or with settings that do not allow
            going on with these; or it has no description.
        StorageError: its description, or the dataset's label table, cannot be read.
    """
    dataset.labels()
    if is_described(run):
        description = open_run(run)
        check_dataset(run, description, dataset)
        _check_settings(run, description, config)
    elif any(int(path.name) > 0 for path in finished_checkpoints(run)):
        raise TrainingError(
            f"{run}: expected {DESCRIPTION} beside the checkpoints, found none, so what they were "
            "made from cannot be said; put it back, or use another --run"
        )


def check_dataset(run: Path, description: RunDescription, dataset: Dataset) -> None:
    """Raises TrainingError when the run was made from a dataset of other content."""
    if description.dataset_digest != dataset.content_digest:
        raise TrainingError(
            f"{run}: expected the dataset that it was trained on (content "
            f"{description.dataset_digest[:12]}), received {dataset.root} (content "
            f"{dataset.content_digest[:12]}), whose images or class ids are others; put that "
            "dataset back, name where it is, or train another run on this one"
        )


def check_origin(checkpoint: CheckpointInfo, description: RunDescription) -> None:
    """Raises TrainingError when a checkpoint learnt from another dataset than its run did."""
    if checkpoint.dataset_digest != description.dataset_digest:
        raise TrainingError(
            f"{checkpoint.path}: expected a checkpoint that learnt from the run's dataset (content "
            f"{description.dataset_digest[:12]}), received one of content "
            f"{checkpoint.dataset_digest[:12]}; was it copied from another run?"
        )


def describe_run(
    run: Path, dataset: Dataset, config: TrainerConfig, settings: Mapping[str, Any]
) -> RunDescription:
    """Writes, or on a resumed run checks and renews, the description and the settings.

    Raises:
        Whatever `check_run` or reading the dataset's labels raises; nothing is written then.
    """
    check_run(run, dataset, config)
    labels = dataset.labels()
    created = datetime.datetime.now(datetime.UTC)
    if is_described(run):
        created = open_run(run).created
    description = RunDescription(
        dataset=str(dataset.root.absolute()),
        dataset_digest=dataset.content_digest,
        dataset_settings=dataset.manifest.settings,
        labels_digest=dataset.manifest.labels_digest,
        num_classes=dataset.num_classes,
        code_version=code_version(),
        created=created,
        trainer=config,
    )
    run.mkdir(parents=True, exist_ok=True)
    write_table(run / LABELS, labels)
    replace_text(run / SETTINGS, yaml.safe_dump(dict(settings), sort_keys=False))
    description.write(run / DESCRIPTION)
    return description


def read_labels(run: Path, description: RunDescription) -> pa.Table:
    """The run's own label table (LABELS_SCHEMA).

    Raises:
        TableError: it is missing or damaged.
        TrainingError: it is not the one that the run was trained with.
    """
    labels = read_table(run / LABELS, LABELS_SCHEMA)
    if table_digest(labels) != description.labels_digest:
        raise TrainingError(
            f"{run / LABELS}: expected the {description.num_classes} labels that the run was "
            f"trained with, received {labels.num_rows} others; copy the label table of its dataset "
            f"({description.dataset}) here"
        )
    return labels


def _listed(names: Sequence[str], most: int = 5) -> str:
    more = [f"{len(names) - most} more"] if len(names) > most else []
    return ", ".join([*names[:most], *more])


def _check_settings(run: Path, earlier: RunDescription, config: TrainerConfig) -> None:
    before, now = earlier.trainer.model_dump(mode="json"), config.model_dump(mode="json")
    # What it began with is taken and kept in INITIAL_WEIGHTS; where that lay may be spelled in
    # another way by now, or be gone.
    del before["model"]["initial_weights"], now["model"]["initial_weights"]
    for setting in _FIXED_SETTINGS:
        old, new = _get(before, setting), _get(now, setting)
        if old != new:
            while isinstance(old, dict):  # down to the first value that differs
                key = next(key for key in old if old[key] != new[key])
                setting, old, new = f"{setting}.{key}", old[key], new[key]
            raise TrainingError(
                f"{run}: this run has trainer.{setting} = {old}, received {new}; "
                "use another --run, or the run's own settings"
            )


def _get(settings: Mapping[str, Any], path: str) -> Any:
    value: Any = settings
    for key in path.split("."):
        value = value[key]
    return value
