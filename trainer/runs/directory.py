"""What a run keeps beside its checkpoints, so that each result leads back to its origin."""

import datetime
import fcntl
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from manylabel.storage.atomic import replace_text
from manylabel.storage.dataset import Dataset
from manylabel.storage.provenance import code_version
from manylabel.trainer.config import TrainerConfig
from manylabel.trainer.errors import TrainingError

DESCRIPTION = "run.json"
SETTINGS = "config.yaml"
LABELS = "labels.parquet"
_LOCK = ".lock"
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


class RunDescription(BaseModel):
    """What a run was made from.

    Attributes:
        dataset: the dataset's root, absolute where it is a local path.
        dataset_settings: preprocessing's settings, as in the dataset's manifest; {} in a run of
            an earlier version.
        trainer: the resolved settings of the run's last start.
    """

    model_config = ConfigDict(frozen=True)

    dataset: str
    dataset_fingerprint: str
    dataset_settings: dict[str, Any] = {}
    num_classes: int
    code_version: str
    created: datetime.datetime
    trainer: TrainerConfig


def open_run(run: Path) -> RunDescription:
    """Reads a run's description.

    Raises:
        TrainingError: there is no run.
    """
    path = run / DESCRIPTION
    try:
        return RunDescription.model_validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise TrainingError(
            f"{run}: expected a run directory, found no {DESCRIPTION}; "
            "`manylabel runs` lists the runs, `manylabel train` makes one"
        ) from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise TrainingError(f"{path}: not a run description ({place}: {first['msg']})") from error


def describe_run(
    run: Path, dataset: Dataset, config: TrainerConfig, settings: Mapping[str, Any]
) -> RunDescription:
    """Writes, or on a resumed run checks and renews, the description and the settings.

    Raises:
        TrainingError: the run was made from another dataset, or with settings that do not allow
            going on with these.
    """
    created = datetime.datetime.now(datetime.UTC)
    if (run / DESCRIPTION).exists():
        earlier = open_run(run)
        _check_resumable(run, earlier, dataset, config)
        created = earlier.created
    description = RunDescription(
        dataset=str(dataset.root.absolute()),
        dataset_fingerprint=dataset.fingerprint,
        dataset_settings=dataset.manifest.settings,
        num_classes=dataset.num_classes,
        code_version=code_version(),
        created=created,
        trainer=config,
    )
    run.mkdir(parents=True, exist_ok=True)
    pq.write_table(dataset.labels(), run / LABELS)
    replace_text(run / SETTINGS, yaml.safe_dump(dict(settings), sort_keys=False))
    replace_text(run / DESCRIPTION, description.model_dump_json(indent=2))
    return description


@contextmanager
def sole_training_job(run: Path) -> Iterator[None]:
    """Keeps two jobs from training in one run; the lock goes with the process that holds it.

    Raises:
        TrainingError: another job holds it, or the run's directory cannot be made or locked.
    """
    with ExitStack() as stack:
        try:
            run.mkdir(parents=True, exist_ok=True)
            file = stack.enter_context((run / _LOCK).open("a"))
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise TrainingError(
                f"{run}: another job is training in this run; wait for it or use another --run"
            ) from error
        except OSError as error:
            raise TrainingError(
                f"{run}: expected a directory that can be written and locked, received: {error}"
            ) from error
        yield


def _check_resumable(
    run: Path, earlier: RunDescription, dataset: Dataset, config: TrainerConfig
) -> None:
    if earlier.dataset_fingerprint != dataset.fingerprint:
        raise TrainingError(
            f"{run}: this run was trained on dataset {earlier.dataset} "
            f"({earlier.dataset_fingerprint[:12]}), received {dataset.root} "
            f"({dataset.fingerprint[:12]}); use another --run"
        )
    before, now = earlier.trainer.model_dump(mode="json"), config.model_dump(mode="json")
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
