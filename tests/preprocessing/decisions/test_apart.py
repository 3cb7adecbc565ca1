"""A held-out set of its own: what training gives up for it, and which of its labels are known."""

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from manylabel.preprocessing.config import HeldoutConfig, PreprocessingConfig
from manylabel.preprocessing.decisions import apart
from manylabel.preprocessing.decisions.apart import (
    UNKNOWN,
    by_side,
    keep_known_labels,
    part,
    sum_unknown,
    with_side,
)
from manylabel.preprocessing.decisions.columns import concat, numbers
from manylabel.preprocessing.decisions.components import group_edges
from manylabel.preprocessing.decisions.image_labels import LABELS, label_keys
from manylabel.preprocessing.decisions.listing import LABEL_NAMES, merge_equal_files, merge_rows
from manylabel.preprocessing.decisions.looks import band_bucket, banded, look_edges
from manylabel.preprocessing.decisions.rows import clean_rows
from manylabel.preprocessing.decisions.split import (
    place_components,
    sort_by_place,
    with_place,
    with_token,
)
from manylabel.preprocessing.decisions.vocabulary import count_labels, frequent_labels
from manylabel.storage.schema import SplitName
from tests.preprocessing.decisions.plain_apart import Apart, Side, decide_apart
from tests.preprocessing.decisions.plain_loop import File
from tests.preprocessing.decisions.test_against_plain_loop import (
    Shuffle,
    by_number,
    by_text,
    look_at,
    random_files,
    random_rows,
    random_tables,
    tuples,
)

TRAIN, HELDOUT = SplitName.TRAIN, SplitName.HELDOUT
BASE = 0x0F0F_0F0F_0F0F_0F0F

SETTINGS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "equal files only": {"heldout": {"duplicate_distance": None}},
    "equal looks only": {"heldout": {"duplicate_distance": 0}},
    "far looks": {"heldout": {"duplicate_distance": 9}},
    "dense ones": {"heldout": {"minimum_labels": 3}},
    "frequent labels": {"labels": {"minimum_count": 4}},
}


def images_of(*rows):
    """Images (id, is it held out, look, groups, labels) in one group; the digest is of the id, or
    of what stands behind a dash in it."""
    ids, heldout, looks, groups, labels = zip(*rows, strict=True)
    pairs = [[{"key": key, "confidence": 1.0} for key in of_image] for of_image in labels]
    digests = [name.rpartition("-")[2].ljust(16, ".").encode() for name in ids]
    return pa.table(
        {
            "image_id": pa.array(ids),
            "labels": pa.array(pairs, LABELS),
            "groups": pa.array(groups, pa.list_(pa.string())),
            "digest": pa.array(digests, pa.binary(16)),
            "look": pa.array(looks, pa.uint64()),
            "heldout": pa.array(heldout),
            "place": pa.array([7] * len(ids), pa.uint64()),
        }
    )


def parted(*rows, **settings):
    images, rejected = part(images_of(*rows), HeldoutConfig(**settings))
    told = {row["image_id"]: (row["reason"], row["detail"]) for row in rejected.to_pylist()}
    assert images.column("image_id").to_pylist() == [row[0] for row in rows if row[0] not in told]
    return told


def test_images_go_that_are_near_to_a_held_out_one_but_not_those_near_to_them():
    """A chain of looks, each two bits from the last, would take whole themes out of training."""
    told = parted(
        ("near.png", False, BASE ^ 0b11, [], [1]),
        ("given.png", True, BASE, [], [1]),
        ("further.png", False, BASE ^ 0b1111, [], [1]),
    )
    detail = "given.png looks like it: 2 of 64 bits differ"
    assert told == {"near.png": ("looks like a held-out image", detail)}


def test_the_nearest_held_out_image_is_named_and_the_first_of_several():
    told = parted(
        ("b.png", True, BASE ^ 0b1000, [], [1]),
        ("c.png", True, BASE ^ 0b11, [], [1]),
        ("a.png", True, BASE ^ 0b0100, [], [1]),
        ("near.png", False, BASE, [], [1]),
    )
    assert told["near.png"][1] == "a.png looks like it: 1 of 64 bits differ"


def test_equal_bytes_count_before_looks_and_looks_before_groups():
    told = parted(
        ("a-same", True, BASE, ["ann"], [1]),
        ("b.png", True, ~BASE & (1 << 64) - 1, ["bob"], [1]),
        ("1-same", False, BASE, ["bob"], [1]),
        ("2.png", False, BASE ^ 1, ["bob"], [1]),
        ("3.png", False, 0xFFFF, ["carl", "bob"], [1]),
        ("4.png", False, 0xFFFF, ["carl"], [1]),
    )
    assert told == {
        "1-same": ("equal to a held-out image", "a-same has the same bytes"),
        "2.png": ("looks like a held-out image", "a-same looks like it: 1 of 64 bits differ"),
        "3.png": ("in the group of a held-out image", "b.png is of the group 'bob' too"),
    }


def test_nearly_blank_looks_are_near_to_equal_ones_alone():
    told = parted(
        ("blank.png", True, 0b11, [], [1]),
        ("as blank.png", False, 0b11, [], [1]),
        ("one bit.png", False, 0b111, [], [1]),
        ("seven bits.png", True, 0x7F, [], [1]),
        ("nine bits.png", False, 0x1FF, [], [1]),
        ("ten bits.png", True, 0x3FF << 20, [], [1]),
        ("eight bits.png", False, 0xFF << 20, [], [1]),
        ("seven.png", False, 0x7F << 20, [], [1]),
        duplicate_distance=3,
    )
    assert sorted(told) == ["as blank.png", "eight bits.png"]


@pytest.mark.parametrize(
    ("distance", "gone"), [(None, ["1-a"]), (0, ["1-a", "2"]), (3, ["1-a", "2", "3"])]
)
def test_the_distance_says_what_is_near(distance, gone):
    told = parted(
        ("a", True, BASE, [], [1]),
        ("1-a", False, BASE, [], [1]),
        ("2", False, BASE, [], [1]),
        ("3", False, BASE ^ 0b111, [], [1]),
        ("4", False, BASE ^ 0b1111, [], [1]),
        duplicate_distance=distance,
    )
    assert list(told) == gone


def test_many_looks_are_compared_in_parts(monkeypatch):
    monkeypatch.setattr(apart, "_PAIRS", 5)
    rows: list[Any] = [(f"{n:02}", False, BASE ^ (1 << n), [], [1]) for n in range(20)]
    given: list[Any] = [(f"given {n}", True, BASE ^ (1 << n) ^ 1, [], [1]) for n in (3, 17)]
    told = parted(*rows, *given)
    assert {name: detail for name, (_, detail) in told.items()} == {
        "00": "given 17 looks like it: 1 of 64 bits differ",
        "03": "given 3 looks like it: 1 of 64 bits differ",
        "17": "given 17 looks like it: 1 of 64 bits differ",
    }


def test_one_side_alone_stays_as_it_is():
    assert parted(("a", False, BASE, ["ann"], [1]), ("b", False, BASE, ["ann"], [1])) == {}
    assert parted(("a", True, BASE, ["ann"], [1]), ("b", True, BASE, ["ann"], [1])) == {}


def test_labels_of_training_alone_are_known():
    """Key 1 is on two training images, 2 on one, 3 on held-out images alone."""
    images = images_of(
        ("a", True, BASE, [], [1, 3]),
        ("b", False, BASE, [], [1, 2]),
        ("c", True, BASE, [], [2, 3]),
        ("d", False, BASE, [], [1]),
        ("e", True, BASE, [], [1, 2]),
    )
    known = keep_known_labels(images, np.array([1], np.uint64), 2, HeldoutConfig())
    assert known.images.column("image_id").to_pylist() == ["b", "d", "a", "e"]
    assert [
        [pair["key"] for pair in of_image] for of_image in known.images["labels"].to_pylist()
    ] == [[1]] * 4
    assert known.rejected[TRAIN].num_rows == 0
    assert known.rejected[HELDOUT].to_pylist() == [
        {
            "image_id": "c",
            "reason": "labels that training has not",
            "detail": "expected 1 labels that training images have (heldout.minimum_labels), "
            "received 0 of 2",
        }
    ]
    assert known.unknown.to_pylist() == [{"key": 2, "images": 2}, {"key": 3, "images": 2}]


def test_unknown_labels_are_named_the_most_frequent_first():
    names = pa.array(["owl", "yak", "cat", "dog"])
    keys = label_keys(names)
    tables = [
        pa.table([keys[[0, 1]], [2, 1]], schema=UNKNOWN),
        pa.table([keys[[1, 2]], [3, 2]], schema=UNKNOWN),
    ]
    named = sum_unknown(tables, [pa.table([keys, names], schema=LABEL_NAMES)])
    assert tuples([named]) == [("yak", 4), ("cat", 2), ("owl", 2)]
    assert sum_unknown([], []).num_rows == 0


def test_tables_of_one_catalog_need_no_mark():
    images = images_of(("a", True, BASE, [], [1]), ("b", False, BASE, [], [1]))
    assert [(side, table.num_rows) for side, table in by_side(images)] == [(TRAIN, 1), (HELDOUT, 1)]
    ((side, unmarked),) = by_side(images.drop_columns("heldout"))
    assert (side, unmarked.num_rows) == (TRAIN, 2)
    ((side, _),) = by_side(with_side(images.drop_columns("heldout"), heldout=True))
    assert side is HELDOUT


@pytest.mark.parametrize("name", SETTINGS)
def test_decisions_are_those_of_a_plain_loop(name):
    settings = SETTINGS[name]
    heldout = {"catalog": {"path": "b.csv"}} | settings.get("heldout", {})
    config = PreprocessingConfig.model_validate(
        {"catalog": {"path": "a.csv"}, **settings, "heldout": heldout}
    )
    rejected = 0
    for seed in range(12):
        rng = random.Random(f"{name} {seed}")
        rows, given = random_rows(rng), random_rows(rng)
        files = random_files(rng, [*rows, *given])
        pool = list(files.values())
        files_of = {TRAIN: files, HELDOUT: {image: rng.choice(pool) for image in files}}
        tables = {TRAIN: random_tables(rng, rows), HELDOUT: random_tables(rng, given)}
        expected = decide_apart(rows, given, files_of[TRAIN], files_of[HELDOUT], config)
        assert drive(tables, files_of, config, Shuffle(rng)) == expected, seed
        rejected += sum("held-out" in reason for _, reason, _ in expected.train.rejected)
    assert rejected > 10, "pictures of both sides met"


def drive(
    raw: Mapping[SplitName, list[pa.Table]],
    files: Mapping[SplitName, Mapping[str, File]],
    config: PreprocessingConfig,
    shuffle: Shuffle,
) -> Apart:
    """Phase one as the graph has it, up to the numbering of classes."""
    heldout, minimum = config.heldout, config.labels.minimum_count
    rejected: dict[SplitName, list[pa.Table]] = {side: [] for side in raw}
    duplicates: dict[SplitName, list[pa.Table]] = {side: [] for side in raw}
    listed, names, tokens = dict.fromkeys(raw, 0), [], []
    for side in raw:
        rows, bad = map(list, zip(*map(clean_rows, raw[side]), strict=True))
        merged = [merge_rows(t) for t in shuffle(rows, by_text("image"))]
        listed[side] = sum(m.listed for m in merged)
        names += [m.label_names for m in merged]
        duplicates[side] += [m.duplicates for m in merged]
        checked, unusable = zip(*(look_at(m.images, files[side]) for m in merged), strict=True)
        rejected[side] += [*bad, *(m.rejected for m in merged), *unusable]
        marked = (with_side(t, heldout=side is HELDOUT) for t in checked if t.num_rows)
        tokens += [with_token(table, heldout) for table in marked]
    images = []
    for table in shuffle(tokens, by_number("token")):
        kept = []
        for side, mine in by_side(table):
            unique, others = merge_equal_files(mine)
            duplicates[side].append(others)
            kept.append(unique)
        images.append(concat(kept))
    edges = [group_edges(table) for table in images]
    if distance := heldout.duplicate_distance:
        bands = shuffle((banded(t, distance) for t in images), lambda t: band_bucket(t, distance))
        edges += [look_edges(table, distance) for table in bands]
    roots = [place_components(edges, heldout.salt)]
    placed = shuffle((with_place(t, roots, heldout) for t in images), by_number("place"))
    left = []
    for table in placed:
        stays, gone = part(sort_by_place(table), heldout)
        rejected[TRAIN].append(gone)
        left.append(stays)
    frequent = frequent_labels([count_labels(table) for table in left], minimum)
    known = [keep_known_labels(table, frequent, minimum, heldout) for table in left]
    for each in known:
        assert np.all(np.diff(numbers(each.images, "place").astype(object)) >= 0)
        for side in raw:
            rejected[side].append(each.rejected[side])
    called = {row["key"]: row["name"] for table in names for row in table.to_pylist()}
    sides = {
        side: Side(
            images_on(side, [each.images for each in known], called),
            sorted(tuples(rejected[side])),
            sorted(tuples(duplicates[side])),
            listed[side],
        )
        for side in raw
    }
    unknown = sum_unknown([each.unknown for each in known], names)
    return Apart(sides[TRAIN], sides[HELDOUT], tuples([unknown]))


def images_on(side: SplitName, tables: list[pa.Table], called: Mapping[int, str]) -> list[tuple]:
    rows = []
    for table in tables:
        for row in table.filter(
            pa.array(numbers(table, "heldout") == (side is HELDOUT))
        ).to_pylist():
            labels = {called[pair["key"]]: pair["confidence"] for pair in row["labels"]}
            present = {name: value for name, value in labels.items() if value > 0}
            rows.append((row["image_id"], present, labels.keys() - present.keys()))
    return sorted(rows, key=lambda row: row[0])
