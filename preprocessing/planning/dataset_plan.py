"""The plan of a dataset: what phase one decides and phase two carries out.

It lies beside the shards, so that a shard can be written again without looking at every image.

    plan/lock, plan/owner.json               see output.py
    plan/checked/                            what was found in the pictures, see checking.py
    plan/train-00000-of-00008.parquet        PLAN_SCHEMA, in the order of the records
    plan/classes.parquet, plan/totals.json   counts of phase one
    plan/plan.json                           last: the plan is complete
    plan/files.parquet                       beside the manifest, see finished.py
"""

import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import ClassVar, Literal, Self

import pyarrow as pa
from pydantic import Field, model_validator
from upath import UPath

from manylabel.preprocessing.decisions.split import Stays
from manylabel.preprocessing.decisions.work_items import PLAN_SCHEMA, Shards, Totals
from manylabel.storage.documents import Document
from manylabel.storage.errors import DocumentError, TableError, UnreachableTableError
from manylabel.storage.listing import file_sizes
from manylabel.storage.manifest import (
    HELDOUT_IMAGES_NAME,
    HELDOUT_REJECTED_NAME,
    LABELS_NAME,
    REJECTED_NAME,
    UNKNOWN_LABELS_NAME,
    table_digest,
)
from manylabel.storage.schema import (
    DUPLICATES_SCHEMA,
    REJECTED_SCHEMA,
    UNKNOWN_LABELS_SCHEMA,
    SplitName,
)
from manylabel.storage.tables import (
    count_rows,
    part_path,
    read_table,
    remove_table,
    table_parts,
    write_table,
)

PLAN_DIRECTORY = "plan"
PLAN_NAME = f"{PLAN_DIRECTORY}/plan.json"
CLASSES_NAME = f"{PLAN_DIRECTORY}/classes.parquet"
TOTALS_NAME = f"{PLAN_DIRECTORY}/totals.json"
OUTCOMES_NAME = f"{PLAN_DIRECTORY}/outcomes.json"
DUPLICATES_NAME = "duplicates.parquet"
HELDOUT_DUPLICATES_NAME = "heldout_duplicates.parquet"

NOT_WRITTEN = {
    SplitName.TRAIN: (REJECTED_NAME, DUPLICATES_NAME),
    SplitName.HELDOUT: (HELDOUT_REJECTED_NAME, HELDOUT_DUPLICATES_NAME),
}
"""Tables of the images that a catalog lists and the dataset has not, rejections and duplicates; of
both sides where one catalog lists both."""

TABLES = (LABELS_NAME, HELDOUT_IMAGES_NAME, *NOT_WRITTEN[SplitName.TRAIN])
"""What phase one writes beside the plan of any dataset."""

_CLASSES_SCHEMA = pa.schema(
    [
        pa.field("name", pa.string(), nullable=False),
        pa.field("train_count", pa.int64(), nullable=False),
        pa.field("heldout_count", pa.int64(), nullable=False),
    ]
)


FEW_ROWS = 1_000_000
"""Rejections or duplicates in one file; more are a folder of parts (`tables.table_parts`)."""


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


class PlanTotals(Document):
    """Counts that phase one takes on its way.

    Attributes:
        listed: Spellings of images in the catalog.
        images: On each side.
        shards: On each side.
        large_groups, large_group_images, largest_group: As `split.LargeGroups`.
        stays: As `Totals`; empty in plans that were made before it was counted.
    """

    NOUN: ClassVar[str] = "the counts of a dataset's plan"
    REMEDY: ClassVar[str] = "run preprocessing again"

    format_version: Literal[2] = 2
    listed: int
    images: dict[SplitName, int]
    shards: dict[SplitName, int]
    large_groups: int
    large_group_images: int
    largest_group: int
    stays: dict[Stays, int] = Field(default_factory=dict)


class DatasetPlan(Document):
    """A complete plan: shard names of each side, and how many spellings the catalog lists.

    Attributes:
        image_root: Where its pictures were checked. The fingerprint does not hold it, since the
            same pictures may lie elsewhere.
        heldout_image_root: Likewise of a held-out catalog; None where there is none.
        labels_digest, heldout_images_digest: Of the tables that phase one wrote for readers.
    """

    NOUN: ClassVar[str] = "a dataset's plan"
    REMEDY: ClassVar[str] = "run preprocessing again"

    format_version: Literal[2] = 2
    fingerprint: str
    image_root: str
    heldout_image_root: str | None = None
    labels_digest: str
    heldout_images_digest: str
    listed: int
    shards: dict[SplitName, list[str]]

    @model_validator(mode="after")
    def _shards_are_named_as_shards(self) -> Self:
        for split, names in self.shards.items():
            for name in names:
                if not re.fullmatch(rf"{split}-\d+-of-\d+", name):
                    raise ValueError(f"expected names as {split}-00000-of-00008, received {name!r}")
        return self

    @property
    def names(self) -> list[str]:
        """Of all shards, training first."""
        return [name for split in SplitName for name in self.shards[split]]

    @property
    def image_roots(self) -> dict[SplitName, str]:
        """By side, one for each catalog."""
        roots = {SplitName.TRAIN: self.image_root}
        if self.heldout_image_root is not None:
            roots[SplitName.HELDOUT] = self.heldout_image_root
        return roots

    @classmethod
    def read_at(cls, root: UPath) -> Self | None:
        """The plan below `root` as it says itself, or None when it is unfinished or damaged.

        Raises:
            OSError: the storage failed, which says nothing about the plan.
        """
        try:
            return cls.read(root / PLAN_NAME)
        except (DocumentError, FileNotFoundError, NotADirectoryError):
            return None

    @classmethod
    def find(cls, root: UPath) -> Self | None:
        """The plan below `root`, or None when it is unfinished or a part is gone or damaged.

        Raises:
            OSError, UnreachableTableError: the storage failed, which says nothing about the plan.
        """
        plan = cls.read_at(root)
        if plan is None:
            return None
        try:
            for name in plan.names:
                read_table(plan_path(root, name), PLAN_SCHEMA)
            labels, heldout_images = (
                read_table(root / name) for name in (LABELS_NAME, HELDOUT_IMAGES_NAME)
            )
            read_planned_classes(root)
            read_totals(root)
            for name in (name for split in plan.image_roots for name in NOT_WRITTEN[split]):
                for part in table_parts(root / name):
                    read_table(part)
            if SplitName.HELDOUT in plan.image_roots:
                read_unknown_labels(root)
        except UnreachableTableError:
            raise
        except (TableError, DocumentError, FileNotFoundError):
            return None  # It is made again, which costs time but no images.
        found = table_digest(labels), table_digest(heldout_images)
        return plan if found == (plan.labels_digest, plan.heldout_images_digest) else None


def remove_plan(root: UPath) -> None:
    """Deletes a plan, finished or not, so that no work item of it is taken for one of the next.

    What was found in the pictures stays.
    """
    (root / PLAN_NAME).unlink(missing_ok=True)
    for split in SplitName:
        for name in file_sizes(root / PLAN_DIRECTORY, f"{split}-*-of-*.parquet"):
            (root / PLAN_DIRECTORY / name).unlink()
    for name in (name for split in SplitName for name in NOT_WRITTEN[split]):
        remove_table(root / name)
    (root / UNKNOWN_LABELS_NAME).unlink(missing_ok=True)


def plan_path(root: UPath, shard: str) -> UPath:
    return root / PLAN_DIRECTORY / f"{shard}.parquet"


def write_planned(root: UPath, shard: str, images: pa.Table) -> None:
    """The work item of one shard (PLAN_SCHEMA), in the order given."""
    write_table(plan_path(root, shard), images)


def write_missing_work_items(root: UPath, shards: Iterable[str]) -> None:
    """Empty ones for the shards that the hash gave no image to."""
    for shard in shards:
        if not plan_path(root, shard).is_file():
            write_planned(root, shard, PLAN_SCHEMA.empty_table())


def read_planned(root: UPath, shard: str) -> list[PlannedImage]:
    return [PlannedImage(**row) for row in read_table(plan_path(root, shard)).to_pylist()]


def planned_images(root: UPath, shards: Iterable[str]) -> int:
    """Rows of the work items together."""
    return sum(count_rows(plan_path(root, shard)) for shard in shards)


def write_planned_classes(classes: pa.Table, root: UPath) -> None:
    """In the order of their ids, from `vocabulary.CLASSES`."""
    columns = [classes.column(name) for name in ("name", "train", "heldout")]
    write_table(root / CLASSES_NAME, pa.table(columns, schema=_CLASSES_SCHEMA))


def read_planned_classes(root: UPath) -> pa.Table:
    return read_table(root / CLASSES_NAME, _CLASSES_SCHEMA)


def write_unknown_labels(labels: pa.Table, root: UPath) -> None:
    """UNKNOWN_LABELS_SCHEMA, beside the plan."""
    write_table(root / UNKNOWN_LABELS_NAME, labels)


def read_unknown_labels(root: UPath) -> pa.Table:
    return read_table(root / UNKNOWN_LABELS_NAME, UNKNOWN_LABELS_SCHEMA)


def write_totals(totals: Totals, shards: Shards, listed: int, root: UPath) -> None:
    PlanTotals(
        listed=listed,
        images={split: totals.sides[split].images for split in SplitName},
        shards=dict(shards),
        large_groups=totals.large_groups.groups,
        large_group_images=totals.large_groups.images,
        largest_group=totals.large_groups.largest,
        stays=dict(totals.stays),
    ).write(root / TOTALS_NAME)


def read_totals(root: UPath) -> PlanTotals:
    return PlanTotals.read(root / TOTALS_NAME)


def write_part(bucket: int, table: pa.Table, root: UPath, name: str) -> None:
    """A part of a table of rejections or duplicates, sorted."""
    write_table(part_path(root / name, bucket), _sorted(table))


def join_parts(root: UPath, name: str) -> None:
    """Makes one sorted file of the parts of a table, unless they are too many rows to be sorted.

    Without parts it is a file of no rows.
    """
    parts = [part for part in table_parts(root / name) if part != root / name]
    if sum(count_rows(part) for part in parts) > FEW_ROWS:
        return
    rows = pa.concat_tables([_SORTED[name].empty_table(), *map(read_table, parts)])
    write_table(root / name, _sorted(rows))
    for part in parts:
        part.unlink()
    with suppress(OSError, NotImplementedError):  # Object storage has no folders to remove.
        part_path(root / name, 0).parent.rmdir()


def _sorted(table: pa.Table) -> pa.Table:
    return table.combine_chunks().sort_by([(name, "ascending") for name in table.column_names])


_SORTED = {
    name: schema
    for names in NOT_WRITTEN.values()
    for name, schema in zip(names, (REJECTED_SCHEMA, DUPLICATES_SCHEMA), strict=True)
}
