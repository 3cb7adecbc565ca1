"""The plan of a dataset: what phase one decides and phase two carries out.

It lies beside the shards, so that a shard can be written again without looking at every image.

    plan/lock                                locked while a job writes
    plan/owner.json                          first: whose directory this is
    plan/train-00000-of-00008.parquet        PLAN_SCHEMA, in the order of the records
    plan/classes.parquet, plan/totals.json   counts of phase one
    plan/plan.json                           last: the plan is complete
"""

import fcntl
import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, ValidationError
from upath import UPath

from manylabel.preprocessing.errors import PreprocessingError
from manylabel.preprocessing.labels import LabelCount
from manylabel.storage.atomic import TEMPORARY_PATTERN, replacing
from manylabel.storage.manifest import LABELS_NAME, MANIFEST_NAME, REJECTED_NAME
from manylabel.storage.schema import SplitName
from manylabel.storage.tables import count_rows, read_table, write_rows

PLAN_DIRECTORY = "plan"
CLASSES_NAME = "classes.parquet"
TOTALS_NAME = "totals.json"
OWNER_NAME = f"{PLAN_DIRECTORY}/owner.json"
LOCK_NAME = f"{PLAN_DIRECTORY}/lock"
OUTCOMES_NAME = f"{PLAN_DIRECTORY}/outcomes.json"
DUPLICATES_NAME = "duplicates.parquet"

_TABLES = (LABELS_NAME, REJECTED_NAME, DUPLICATES_NAME)

PLAN_SCHEMA = pa.schema(
    [
        pa.field("image_id", pa.string(), nullable=False),
        pa.field("digest", pa.string(), nullable=False),
        pa.field("label_ids", pa.list_(pa.int64()), nullable=False),
        pa.field("confidences", pa.list_(pa.float64()), nullable=False),
        pa.field("negative_ids", pa.list_(pa.int64()), nullable=False),
    ]
)
CLASSES_SCHEMA = pa.schema(
    [
        pa.field("name", pa.string(), nullable=False),
        pa.field("train", pa.int64(), nullable=False),
        pa.field("heldout", pa.int64(), nullable=False),
    ]
)
DUPLICATES_SCHEMA = pa.schema(
    [pa.field("image", pa.string(), nullable=False), pa.field("kept", pa.string(), nullable=False)]
)


@dataclass(frozen=True)
class PlannedImage:
    """A record to be written; `digest` is that of the file when it was checked."""

    image_id: str
    digest: str
    label_ids: list[int]
    confidences: list[float]
    negative_ids: list[int]


class Totals(BaseModel):
    """Counts that phase one takes on its way: spellings listed, images on each side."""

    model_config = ConfigDict(frozen=True)

    listed: int
    images: dict[SplitName, int]


class DatasetPlan(BaseModel):
    """A complete plan: shard names of each side, and how many spellings the catalog lists."""

    model_config = ConfigDict(frozen=True)

    fingerprint: str
    listed: int
    shards: dict[SplitName, list[str]]

    @classmethod
    def read(cls, root: UPath) -> Self | None:
        """The plan below `root`, or None when it is unfinished or a part is gone or damaged."""
        path = root / PLAN_DIRECTORY / "plan.json"
        try:
            plan = cls.model_validate_json(path.read_bytes())
            parts = [plan_path(root, name) for names in plan.shards.values() for name in names]
            for part in (*parts, *(root / name for name in _TABLES)):
                read_table(part)
        except (ValidationError, pa.ArrowException, OSError):
            return None  # It is made again, which costs time but no images.
        return plan

    def write(self, root: UPath) -> None:
        with replacing(root / PLAN_DIRECTORY / "plan.json") as file:
            file.write(self.model_dump_json(indent=2).encode())


class Owner(BaseModel):
    """Marks a directory as a dataset's, from the first second of the first run."""

    model_config = ConfigDict(frozen=True)

    fingerprint: str
    settings: dict[str, Any]


@contextmanager
def claim(root: UPath, owner: Owner, *, overwrite: bool) -> Iterator[None]:
    """Makes `root` the directory of this dataset, or finds that it is, and locks it for the block.

    Raises:
        PreprocessingError: it holds another dataset (and `overwrite` is off), or other files, or
            another job is writing there.
    """
    _refuse_other_files(root)
    with _locked(root):
        if (root / OWNER_NAME).is_file():
            if overwrite:
                remove_dataset(root)
            else:
                _refuse_other_dataset(root, owner)
        with replacing(root / OWNER_NAME) as file:
            file.write(owner.model_dump_json(indent=2).encode())
        for directory in (root, root / PLAN_DIRECTORY, *(root / split for split in SplitName)):
            for leftover in directory.glob(TEMPORARY_PATTERN):
                leftover.unlink(missing_ok=True)
        yield


def _refuse_other_files(root: UPath) -> None:
    if not root.exists() or (root / OWNER_NAME).is_file():
        return
    ours = (root / PLAN_DIRECTORY, root / LOCK_NAME)  # A job may have died between lock and owner.
    if not root.is_dir() or any(path not in ours for path in root.rglob("*")):
        raise PreprocessingError(
            f"{root}: expected a new or empty directory, or one that preprocessing wrote, "
            "received other files; choose another output directory"
        )


def _refuse_other_dataset(root: UPath, owner: Owner) -> None:
    path = root / OWNER_NAME
    try:
        present = Owner.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise PreprocessingError(
            f"{path}: damaged, so whose dataset it is cannot be said; choose another output "
            "directory, or --overwrite to delete that dataset"
        ) from error
    if present.fingerprint != owner.fingerprint:
        raise PreprocessingError(
            f"{root}: holds a dataset of other input ({_difference(present, owner)}); choose "
            "another output directory, or --overwrite to delete that dataset"
        )


@contextmanager
def _locked(root: UPath) -> Iterator[None]:
    """Only one job at a time; the system frees the lock of a job that dies.

    Object storage has no locks, so there the user has to see to it.
    """
    if root.protocol not in ("", "file", "local"):
        yield
        return
    path = Path(root.path) / LOCK_NAME
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise PreprocessingError(
                f"{root}: another job is writing this dataset; wait until it has ended, or choose "
                "another output directory"
            ) from error
        yield


def remove_dataset(root: UPath) -> None:
    """Deletes what preprocessing writes, the manifest first, and nothing else."""
    for name in (MANIFEST_NAME, *_TABLES):
        (root / name).unlink(missing_ok=True)
    for split in SplitName:
        for suffix in ("tfrecord", "index.parquet"):
            for path in (root / split).glob(f"{split}-*-of-*.{suffix}"):
                path.unlink()
    remove_plan(root)


def remove_plan(root: UPath) -> None:
    """Deletes a plan, finished or not, so that no work item of it is taken for one of the next."""
    (root / PLAN_DIRECTORY / "plan.json").unlink(missing_ok=True)
    for split in SplitName:
        for path in (root / PLAN_DIRECTORY).glob(f"{split}-*-of-*.parquet"):
            path.unlink()


def shard_count(images: int, images_per_shard: int) -> int:
    return math.ceil(images / images_per_shard)


def shard_name(split: SplitName, number: int, shards: int) -> str:
    return f"{split}-{number:05d}-of-{shards:05d}"


def plan_path(root: UPath, shard: str) -> UPath:
    return root / PLAN_DIRECTORY / f"{shard}.parquet"


def write_planned(root: UPath, shard: str, images: Iterable[PlannedImage]) -> None:
    """The work item of one shard, in the order given."""
    write_rows(plan_path(root, shard), images, PLAN_SCHEMA)


def write_missing_work_items(root: UPath, shards: Iterable[str]) -> None:
    """Empty ones for the shards that the hash gave no image to."""
    for shard in shards:
        if not plan_path(root, shard).is_file():
            write_planned(root, shard, [])


def read_planned(root: UPath, shard: str) -> list[PlannedImage]:
    return [PlannedImage(**row) for row in read_table(plan_path(root, shard)).to_pylist()]


def planned_images(root: UPath, shards: Iterable[str]) -> int:
    """Rows of the work items together."""
    return sum(count_rows(plan_path(root, shard)) for shard in shards)


def write_classes(classes: Iterable[LabelCount], root: UPath) -> None:
    write_rows(root / PLAN_DIRECTORY / CLASSES_NAME, classes, CLASSES_SCHEMA)


def read_classes(root: UPath) -> list[LabelCount]:
    path = root / PLAN_DIRECTORY / CLASSES_NAME
    return [LabelCount(**row) for row in read_table(path).to_pylist()]


def write_totals(images: dict[SplitName, int], listed: int, root: UPath) -> None:
    totals = Totals(listed=listed, images=images)
    with replacing(root / PLAN_DIRECTORY / TOTALS_NAME) as file:
        file.write(totals.model_dump_json(indent=2).encode())


def read_totals(root: UPath) -> Totals:
    return Totals.model_validate_json((root / PLAN_DIRECTORY / TOTALS_NAME).read_bytes())


def _difference(present: Owner, wanted: Owner) -> str:
    """Names the settings that differ, or else what settings do not show."""
    differing = [
        f"{section}.{key}"
        for section, values in wanted.settings.items()
        for key, value in values.items()
        if present.settings.get(section, {}).get(key) != value
    ]
    if differing:
        return f"different {', '.join(differing)}"
    return "the catalog or the version of the code changed"
