"""From images with a side to the work items of shards."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import pyarrow as pa

from manylabel.preprocessing.config import HeldoutConfig, ShardConfig
from manylabel.preprocessing.decisions.columns import (
    column,
    digest_bytes,
    hex_texts,
    numbers,
    run_starts,
    unflatten,
)
from manylabel.preprocessing.decisions.hashing import hash_texts
from manylabel.preprocessing.decisions.image_labels import Labels
from manylabel.preprocessing.decisions.split import (
    LargeGroups,
    Stays,
    count_stays,
    find_large_groups,
    sum_large_groups,
)
from manylabel.storage.schema import SplitName

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
"""Records of a shard: its work item."""

PLANNED = pa.schema([*PLAN_SCHEMA, ("shard", pa.uint64()), ("order", pa.uint64())])
"""Records with the number of their shard (training shards first, then held-out ones) and a hash
that orders them in it, so that they are shuffled once and for all."""

Shards = Mapping[SplitName, int]
"""Number of shards of each side."""


@dataclass(frozen=True)
class SideTotal:
    """What one side has.

    Attributes:
        images: How many.
        stored_bytes: Estimated size of their records together.
    """

    images: int
    stored_bytes: int


@dataclass(frozen=True)
class Totals:
    """What the split came to.

    Attributes:
        stays: Groups by why they stay in training, where images of one catalog are held out.
    """

    sides: Mapping[SplitName, SideTotal]
    large_groups: LargeGroups
    stays: Mapping[Stays, int] = field(default_factory=dict)

    @property
    def images(self) -> int:
        """Of both sides."""
        return sum(side.images for side in self.sides.values())


def count_sides(images: pa.Table, config: HeldoutConfig) -> Totals:
    """Of a table of whole groups, sorted by place, with their sides."""
    heldout, stored_bytes = numbers(images, "heldout"), numbers(images, "stored_bytes")
    sides = {
        side: SideTotal(int(np.count_nonzero(there)), int(stored_bytes[there].sum()))
        for side, there in ((SplitName.TRAIN, ~heldout), (SplitName.HELDOUT, heldout))
    }
    return Totals(sides, find_large_groups(images, config), count_stays(images))


def sum_totals(several: Iterable[Totals]) -> Totals:
    """Of all tables together, also of none."""
    several = list(several)
    sides = {
        side: SideTotal(
            images=sum(totals.sides[side].images for totals in several),
            stored_bytes=sum(totals.sides[side].stored_bytes for totals in several),
        )
        for side in SplitName
    }
    stays = sum((Counter(totals.stays) for totals in several), Counter())
    return Totals(sides, sum_large_groups(totals.large_groups for totals in several), stays)


def shards_of(totals: Totals, config: ShardConfig) -> Shards:
    """How many shards each side gets: none without images, and never more than images."""
    return {side: _shards_of_side(total, config) for side, total in totals.sides.items()}


def _shards_of_side(total: SideTotal, config: ShardConfig) -> int:
    if config.images_per_shard is not None:
        return math.ceil(total.images / config.images_per_shard)
    by_bytes = math.ceil(total.stored_bytes / config.bytes_per_shard)
    return min(max(by_bytes, 1), total.images)


def plan_images(images: pa.Table, classes: pa.Table, shards: Shards) -> pa.Table:
    """The records of images (PLANNED); labels that are no class are left out here.

    Args:
        images: With the columns `heldout` and `place`.
        classes: `vocabulary.CLASSES`; a class's row is its id.
    """
    rows = images.num_rows
    labels, number = _numbered(Labels.of(images), classes)
    present = labels.confidence > 0
    heldout = numbers(images, "heldout")
    image_ids = column(images, "image_id")
    on_side = np.where(heldout, shards[SplitName.HELDOUT], shards[SplitName.TRAIN])
    shard = hash_texts(image_ids, "shard") % on_side.astype(np.uint64)
    columns = [
        image_ids,
        hex_texts(digest_bytes(images)),
        unflatten(labels.image[present], pa.array(number[present]), rows),
        unflatten(labels.image[present], pa.array(labels.confidence[present]), rows),
        unflatten(labels.image[~present], pa.array(number[~present]), rows),
        pa.array(numbers(images, "place").astype(np.int64)),
        shard + heldout * np.uint64(shards[SplitName.TRAIN]),
        hash_texts(image_ids, "order"),
    ]
    return pa.table(columns, schema=PLANNED)


def _numbered(labels: Labels, classes: pa.Table) -> tuple[Labels, np.ndarray]:
    """The labels that are classes, and their class ids, by image and then by id."""
    number = labels.rows_in(numbers(classes, "key"))
    known = number >= 0
    labels, number = labels.filter(known), number[known]
    order = np.argsort(labels.image.astype(np.int64) * classes.num_rows + number)
    return labels.filter(order), number[order]


def work_items(planned: pa.Table, shards: Shards) -> Iterator[tuple[str, pa.Table]]:
    """Pairs (name of a shard, its records in order as PLAN_SCHEMA).

    Args:
        planned: All records of some shards.
    """
    keys = [("shard", "ascending"), ("order", "ascending"), ("image_id", "ascending")]
    planned = planned.sort_by(keys)
    shard = numbers(planned, "shard")
    bounds = np.append(run_starts(shard), len(shard)).tolist()
    records = planned.select(PLAN_SCHEMA.names)
    for start, end in pairwise(bounds):
        yield _name_of(int(shard[start]), shards), records.slice(start, end - start)


def shard_name(split: SplitName, number: int, shards: int) -> str:
    """As in train-00000-of-00008."""
    return f"{split}-{number:05d}-of-{shards:05d}"


def _name_of(shard: int, shards: Shards) -> str:
    training = shards[SplitName.TRAIN]
    if shard < training:
        return shard_name(SplitName.TRAIN, shard, training)
    return shard_name(SplitName.HELDOUT, shard - training, shards[SplitName.HELDOUT])
