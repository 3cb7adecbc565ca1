"""The plan of a dataset: what phase one decides and phase two carries out.

It lies beside the shards, so that a shard can be written again without looking at every image.

    plan/lock, plan/owner.json               see output.py
    plan/train-00000-of-00008.parquet        PLAN_SCHEMA, in the order of the records
    plan/classes.parquet, plan/totals.json   counts of phase one
    plan/plan.json                           last: the plan is complete
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Literal, Self

import pyarrow as pa
from upath import UPath

from manylabel.preprocessing.labels import LabelCount
from manylabel.storage.documents import Document
from manylabel.storage.errors import DocumentError, TableError
from manylabel.storage.manifest import (
    HELDOUT_IMAGES_NAME,
    LABELS_NAME,
    REJECTED_NAME,
    table_digest,
)
from manylabel.storage.schema import SplitName
from manylabel.storage.tables import count_rows, read_table, write_rows

PLAN_DIRECTORY = "plan"
PLAN_NAME = f"{PLAN_DIRECTORY}/plan.json"
CLASSES_NAME = f"{PLAN_DIRECTORY}/classes.parquet"
TOTALS_NAME = f"{PLAN_DIRECTORY}/totals.json"
OUTCOMES_NAME = f"{PLAN_DIRECTORY}/outcomes.json"
DUPLICATES_NAME = "duplicates.parquet"

TABLES = (LABELS_NAME, HELDOUT_IMAGES_NAME, REJECTED_NAME, DUPLICATES_NAME)
"""What phase one writes beside the plan."""

PLAN_SCHEMA = pa.schema(
    [
        pa.field("image_id", pa.string(), nullable=False),
        pa.field("digest", pa.string(), nullable=False),
        pa.field("label_ids", pa.list_(pa.int64()), nullable=False),
        pa.field("confidences", pa.list_(pa.float64()), nullable=False),
        pa.field("negative_ids", pa.list_(pa.int64()), nullable=False),
        pa.field("near_duplicate_group", pa.int64(), nullable=False),
    ]
)
_CLASSES_SCHEMA = pa.schema(
    [
        pa.field("name", pa.string(), nullable=False),
        pa.field("train_count", pa.int64(), nullable=False),
        pa.field("heldout_count", pa.int64(), nullable=False),
    ]
)


@dataclass(frozen=True)
class PlannedImage:
    """A record to be written.

    Attributes:
        digest: Of the file when it was checked.
        near_duplicate_group: Hash of the group that may not be parted by the split.
    """

    image_id: str
    digest: str
    label_ids: list[int]
    confidences: list[float]
    negative_ids: list[int]
    near_duplicate_group: int


class Totals(Document):
    """Counts that phase one takes on its way: spellings listed, images on each side."""

    NOUN: ClassVar[str] = "the counts of a dataset's plan"
    REMEDY: ClassVar[str] = "run preprocessing again"

    format_version: Literal[1] = 1
    listed: int
    images: dict[SplitName, int]


class DatasetPlan(Document):
    """A complete plan: shard names of each side, and how many spellings the catalog lists.

    Attributes:
        image_root: Where its pictures were checked. The fingerprint does not hold it, since the
            same pictures may lie elsewhere.
        labels_digest, heldout_images_digest: Of the tables that phase one wrote for readers.
    """

    NOUN: ClassVar[str] = "a dataset's plan"
    REMEDY: ClassVar[str] = "run preprocessing again"

    format_version: Literal[2] = 2
    fingerprint: str
    image_root: str
    labels_digest: str
    heldout_images_digest: str
    listed: int
    shards: dict[SplitName, list[str]]

    @classmethod
    def find(cls, root: UPath) -> Self | None:
        """The plan below `root`, or None when it is unfinished or a part is gone or damaged."""
        try:
            plan = cls.read(root / PLAN_NAME)
            parts = [plan_path(root, name) for names in plan.shards.values() for name in names]
            for part in parts:
                read_table(part, PLAN_SCHEMA)
            labels, heldout_images, *_ = (read_table(root / name) for name in TABLES)
        except (DocumentError, TableError, OSError):
            return None  # It is made again, which costs time but no images.
        found = table_digest(labels), table_digest(heldout_images)
        return plan if found == (plan.labels_digest, plan.heldout_images_digest) else None


def remove_plan(root: UPath) -> None:
    """Deletes a plan, finished or not, so that no work item of it is taken for one of the next."""
    (root / PLAN_NAME).unlink(missing_ok=True)
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


def write_planned_classes(classes: Iterable[LabelCount], root: UPath) -> None:
    write_rows(root / CLASSES_NAME, classes, _CLASSES_SCHEMA)


def read_planned_classes(root: UPath) -> list[LabelCount]:
    path = root / CLASSES_NAME
    return [LabelCount(**row) for row in read_table(path).to_pylist()]


def write_totals(images: dict[SplitName, int], listed: int, root: UPath) -> None:
    Totals(listed=listed, images=images).write(root / TOTALS_NAME)


def read_totals(root: UPath) -> Totals:
    return Totals.read(root / TOTALS_NAME)
