"""Shards: how many, which images, in which order."""

import hashlib
import random

import numpy as np
import pyarrow as pa
import pytest

from manylabel.preprocessing.config import HeldoutConfig, ShardConfig
from manylabel.preprocessing.decisions.hashing import HASH_RANGE
from manylabel.preprocessing.decisions.image_labels import LABELS
from manylabel.preprocessing.decisions.split import LargeGroups
from manylabel.preprocessing.decisions.vocabulary import CLASSES
from manylabel.preprocessing.decisions.work_items import (
    PLAN_SCHEMA,
    PLANNED,
    SideTotal,
    Totals,
    count_sides,
    plan_images,
    shard_name,
    shards_of,
    sum_totals,
    work_items,
)
from manylabel.storage.schema import SplitName

TRAIN, HELDOUT = SplitName.TRAIN, SplitName.HELDOUT


def stable_hash(key, purpose):
    digest = hashlib.blake2b(f"{purpose}\0{key}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % HASH_RANGE


def totals_of(train, heldout):
    return Totals({TRAIN: SideTotal(*train), HELDOUT: SideTotal(*heldout)}, LargeGroups(0, 0, 0))


def test_sides_are_counted_with_their_bytes_and_large_groups():
    images = pa.table(
        {
            "place": pa.array([1, 1, 2, 3], pa.uint64()),
            "heldout": [False, False, True, True],
            "stored_bytes": [100, 20, 3, 4000],
        }
    )
    config = HeldoutConfig(largest_group=1)
    totals = count_sides(images, config)
    sides = {TRAIN: SideTotal(2, 120), HELDOUT: SideTotal(2, 4003)}
    assert totals == Totals(sides, LargeGroups(1, 2, 2))
    assert totals.images == 4
    sides = {TRAIN: SideTotal(4, 240), HELDOUT: SideTotal(3, 4006)}
    both = sum_totals([totals, count_sides(images.slice(0, 3), config)])
    assert both == Totals(sides, LargeGroups(2, 4, 2))
    assert sum_totals([]) == totals_of((0, 0), (0, 0))


@pytest.mark.parametrize(
    ("settings", "train", "heldout", "expected"),
    [
        ({"images_per_shard": 4}, (9, 10**12), (4, 1), (3, 1)),
        ({"images_per_shard": 4}, (8, 0), (0, 0), (2, 0)),
        ({"bytes_per_shard": 1000}, (9, 3001), (9, 3000), (4, 3)),
        ({"bytes_per_shard": 1000}, (9, 1), (9, 0), (1, 1)),
        ({"bytes_per_shard": 1000}, (0, 0), (1, 1000), (0, 1)),
        # Not more shards than images, however large these are.
        ({"bytes_per_shard": 1}, (9, 10**9), (1, 10**9), (9, 1)),
        ({"bytes_per_shard": 1, "images_per_shard": 100}, (200, 10**9), (1, 10**9), (2, 1)),
        ({}, (10_000_000, 10_000_000 * 40_000), (3_400, 128 << 20), (2981, 1)),
    ],
)
def test_the_number_of_shards(settings, train, heldout, expected):
    shards = shards_of(totals_of(train, heldout), ShardConfig(**settings))
    assert (shards[TRAIN], shards[HELDOUT]) == expected


# Of the classes' names; a class's row is its id, which says nothing about the order of keys.
CLASS_KEYS = [50, 10, 1 << 62, 30]
LABELS_OF = [
    {30: 0.25, 10: 1.0, 50: 0.5},
    {1 << 62: 0.0, 99: 1.0, 10: 0.0, 50: 1.0},
    {99: 1.0},
    {30: 1.0},
]


def images_to_plan():
    pairs = [[{"key": k, "confidence": c} for k, c in labels.items()] for labels in LABELS_OF]
    return pa.table(
        {
            "image_id": ["a.jpg", "é.jpg", "c.jpg", "d.jpg"],
            "labels": pa.array(pairs, LABELS),
            "digest": pa.array([bytes([n] * 15 + [255]) for n in range(4)], pa.binary(16)),
            "place": pa.array([7, 7, HASH_RANGE - 1, 0], pa.uint64()),
            "heldout": [False, True, True, False],
        }
    )


def classes_of(keys):
    zeros = [0] * len(keys)
    return pa.table([keys, zeros, zeros, [str(key) for key in keys]], schema=CLASSES)


def test_records_of_images():
    shards = {TRAIN: 5, HELDOUT: 3}
    planned = plan_images(images_to_plan(), classes_of(CLASS_KEYS), shards)
    assert planned.schema == PLANNED
    rows = [tuple(row.values()) for row in planned.to_pylist()]
    expected = [
        ("a.jpg", "00" * 15 + "ff", [0, 1, 3], [0.5, 1.0, 0.25], [], 7, 0),
        ("é.jpg", "01" * 15 + "ff", [0], [1.0], [1, 2], 7, 1),
        ("c.jpg", "02" * 15 + "ff", [], [], [], HASH_RANGE - 1, 1),
        ("d.jpg", "03" * 15 + "ff", [3], [1.0], [], 0, 0),
    ]
    assert rows == [
        (
            *record,
            stable_hash(record[0], "shard") % (3 if heldout else 5) + (5 if heldout else 0),
            stable_hash(record[0], "order"),
        )
        for *record, heldout in expected
    ]
    # A slice is planned as a table of its own.
    part = plan_images(images_to_plan().slice(1, 2), classes_of(CLASS_KEYS), shards)
    assert part == planned.slice(1, 2)


def test_records_of_a_side_that_has_all_images():
    images = images_to_plan()
    alone = images.set_column(images.schema.get_field_index("heldout"), "heldout", [[False] * 4])
    planned = plan_images(alone, classes_of([]), {TRAIN: 2, HELDOUT: 0})
    assert planned.column("label_ids").to_pylist() == [[]] * 4
    assert planned.column("shard").to_pylist() == [
        stable_hash(image_id, "shard") % 2 for image_id in images.column("image_id").to_pylist()
    ]


def test_shards_are_filled_evenly_and_shuffled():
    ids = [f"{number}.jpg" for number in range(4000)]
    images = images_to_plan().take(pa.array(np.zeros(4000, int)))
    images = images.set_column(0, "image_id", pa.array(ids))
    shards = {TRAIN: 8, HELDOUT: 0}
    items = dict(work_items(plan_images(images, classes_of(CLASS_KEYS), shards), shards))
    assert len(items) == 8
    assert min(table.num_rows for table in items.values()) > 400
    for records in items.values():
        found = records.column("image_id").to_pylist()
        assert found == sorted(found, key=lambda image_id: stable_hash(image_id, "order"))
        assert found != sorted(found, key=lambda image_id: int(image_id[:-4]))


def test_work_items_are_named_and_in_order_whatever_the_order_of_rows():
    rows = [
        # (image_id, shard, order); shards 0 to 2 are of training.
        ("b.jpg", 2, 5),
        ("a.jpg", 2, 6),
        ("z.jpg", 2, 4),
        # Equal hashes are told apart by the path.
        ("d.jpg", 3, 1),
        ("c.jpg", 3, 1),
        ("e.jpg", 12, HASH_RANGE - 1),
        ("f.jpg", 12, 0),
    ]
    expected = {
        "train-00002-of-00003": ["z.jpg", "b.jpg", "a.jpg"],
        "heldout-00000-of-00010": ["c.jpg", "d.jpg"],
        "heldout-00009-of-00010": ["f.jpg", "e.jpg"],
    }
    for seed in range(5):
        mixed = random.Random(seed).sample(rows, len(rows))
        columns = zip(
            *((i, "", [], [], [], 0, shard, order) for i, shard, order in mixed), strict=True
        )
        arrays = [pa.array(v, t) for v, t in zip(columns, PLANNED.types, strict=True)]
        items = dict(work_items(pa.table(arrays, schema=PLANNED), {TRAIN: 3, HELDOUT: 10}))
        assert {name: t.column("image_id").to_pylist() for name, t in items.items()} == expected
        assert all(table.schema == PLAN_SCHEMA for table in items.values())


def test_no_records_are_no_work_items():
    assert list(work_items(PLANNED.empty_table(), {TRAIN: 0, HELDOUT: 0})) == []


def test_names_of_shards():
    assert shard_name(TRAIN, 0, 8) == "train-00000-of-00008"
    assert shard_name(HELDOUT, 12345, 123456) == "heldout-12345-of-123456"
