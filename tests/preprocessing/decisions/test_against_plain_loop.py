"""Random small catalogs, cut at random: the decisions of Arrow tables are those of a plain loop."""

import random
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from manylabel.preprocessing.config import PreprocessingConfig
from manylabel.preprocessing.decisions.columns import column, concat, numbers
from manylabel.preprocessing.decisions.components import group_edges
from manylabel.preprocessing.decisions.facts import apply_facts
from manylabel.preprocessing.decisions.hashing import hash_texts, mix
from manylabel.preprocessing.decisions.listing import merge_equal_files, merge_rows
from manylabel.preprocessing.decisions.looks import band_bucket, banded, look_edges
from manylabel.preprocessing.decisions.rows import clean_rows, image_key
from manylabel.preprocessing.decisions.split import (
    decide_sides,
    find_cut,
    place_components,
    qualifying_sizes,
    sort_by_place,
    surely_seen,
    unite_keys,
    with_place,
    with_token,
)
from manylabel.preprocessing.decisions.vocabulary import (
    build_classes,
    count_labels,
    drop_rare_labels,
    frequent_labels,
)
from manylabel.preprocessing.decisions.work_items import (
    count_sides,
    plan_images,
    shards_of,
    sum_totals,
    work_items,
)
from manylabel.preprocessing.rejections import RejectReason
from tests.preprocessing.decisions.plain_loop import Decided, File, Record, Row, decide

SETTINGS: dict[str, dict[str, Any]] = {
    "fraction": {"heldout": {"size": 0.4}},
    "nothing held out": {"heldout": {"size": 0}},
    "number": {"heldout": {"size": 5, "minimum_labels": 2}, "labels": {"minimum_count": 2}},
    "more than there are": {"heldout": {"size": 500, "salt": "other"}},
    "equal files only": {"heldout": {"size": 0.5, "duplicate_distance": None}},
    "equal files, number": {"heldout": {"size": 4, "duplicate_distance": None, "salt": "é"}},
    "equal looks only": {"heldout": {"size": 0.5, "duplicate_distance": 0}},
    "far looks": {"heldout": {"size": 8, "duplicate_distance": 9, "minimum_labels": 2}},
    "small groups": {"heldout": {"size": 0.7, "largest_group": 1}},
    "small groups, number": {"heldout": {"size": 6, "largest_group": 2}},
    "rare labels": {"labels": {"minimum_count": 6}, "shards": {"bytes_per_shard": 1}},
    "shards by number": {"shards": {"images_per_shard": 3}, "heldout": {"size": 0.2}},
}
LABELS = ["cat", " cat", "dog", "caf\u00e9", "cafe\u0301", "\U0001f422", "\uffff", 'a, "b"', " \t"]
NUMBERS: list[Any] = [
    1.0,
    1.0,
    1.0,
    0.5,
    0.25,
    0.0,
    -0.0,
    float("nan"),
    2.0,
    float("inf"),
    1e-50,
    None,
]
TEXTS: list[Any] = [
    "1",
    "1",
    "1.0",
    ".5",
    " 0.25 ",
    "0",
    "-0.0",
    "nan",
    "2",
    "inf",
    "",
    "yes",
    "1e-3",
    "-1",
]
PATHS = ["a.jpg", "a/b.jpg", "é/b.jpg", "..a/b.jpg", "s3:/a.jpg", "data:a", "season:/1.jpg", "a\nb"]
ODD_PATHS = ["", ".", "..", "../a.jpg", "/a.jpg", "a\0b", "https://a/b.jpg", "s3://a.jpg"]
SPELLINGS = ["{}", "{}", "{}", "{}", "./{}", "x/../{}", ".//{}", "{}/"]
GROUPS = ["ann", "bob", "Ann", "look 0", "\U0001f422", "\uffff"]


def random_rows(rng: random.Random) -> list[Row]:
    paths = rng.sample(PATHS, 4) + [f"{number:02d}.jpg" for number in range(rng.randrange(40))]
    confidences: list[Any] = rng.choice([NUMBERS, TEXTS])
    grouped = rng.choice([0, 0.02, 0.1, 0.5])
    rows = []
    for _ in range(rng.randrange(1, 200)):
        path = rng.choice(SPELLINGS).format(rng.choice(paths))
        rows.append(
            Row(
                image=path if rng.random() < 0.95 else rng.choice(ODD_PATHS),
                label=None if rng.random() < 0.05 else rng.choice(LABELS),
                confidence=confidences[0] if rng.random() < 0.7 else rng.choice(confidences),
                group=rng.choice(GROUPS) if rng.random() < grouped else None,
            )
        )
    return rows


def random_files(rng: random.Random, rows: Iterable[Row]) -> dict[str, File]:
    """Equal bytes give equal looks; looks are in clusters, and some are nearly blank."""
    centres = [rng.getrandbits(64) for _ in range(3)] + [0x7F]
    usable = []
    for _ in range(60):
        look = rng.choice(centres) if rng.random() < 0.3 else rng.getrandbits(64)
        for _ in range(rng.randrange(4)):
            look ^= 1 << rng.randrange(64)
        usable.append(File(rng.randbytes(16), look, rng.randrange(1000)))
    rejected = File(reason=RejectReason.UNDECODABLE)
    ids = sorted({image_key(row.image) for row in rows})
    return {image_id: rejected if rng.random() < 0.1 else rng.choice(usable) for image_id in ids}


def random_tables(rng: random.Random, rows: list[Row]) -> list[pa.Table]:
    """The rows in any order, in tables of any size."""
    rows = rng.sample(rows, len(rows))
    is_text = any(isinstance(row.confidence, str) for row in rows)
    tables = []
    while rows:
        size = rng.randrange(1, len(rows) + 1)
        image, label, confidence, group = zip(*rows[:size], strict=True)
        tables.append(
            pa.table(
                {
                    "image": pa.array(image, pa.string()),
                    "label": pa.array(label, pa.string()),
                    "confidence": pa.array(confidence, pa.string() if is_text else pa.float64()),
                    "group": pa.array(group, pa.string()),
                }
            )
        )
        rows = rows[size:]
    return tables


class Shuffle:
    """Brings rows of equal keys into one table, in any order of the pieces."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.buckets = rng.randrange(1, 6)

    def __call__(
        self, tables: Iterable[pa.Table], key: Callable[[pa.Table], np.ndarray]
    ) -> list[pa.Table]:
        pieces: dict[int, list[pa.Table]] = {}
        for table in tables:
            buckets = key(table) % np.uint64(self.buckets)
            for bucket in np.unique(buckets).tolist():
                piece = table.filter(pa.array(buckets == bucket))
                pieces.setdefault(bucket, []).append(piece)
        for several in pieces.values():
            self.rng.shuffle(several)
        joined = [concat(several) for several in pieces.values()]
        return self.rng.sample(joined, len(joined))


def drive(
    raw: list[pa.Table], files: Mapping[str, File], config: PreprocessingConfig, shuffle: Shuffle
) -> Decided:
    """Phase one as the graph has it, step by step."""
    heldout, minimum = config.heldout, config.labels.minimum_count
    rows, rejected = map(list, zip(*map(clean_rows, raw), strict=True))
    merged = [merge_rows(t) for t in shuffle(rows, by_text("image"))]
    rejected += [m.rejected for m in merged]
    duplicates = [m.duplicates for m in merged]
    checked, unusable = zip(*(look_at(m.images, files) for m in merged), strict=True)
    tokens = [with_token(table, heldout) for table in checked if table.num_rows]
    unique = [merge_equal_files(t) for t in shuffle(tokens, by_number("token"))]
    duplicates += [others for _, others in unique]
    frequent = frequent_labels([count_labels(kept) for kept, _ in unique], minimum)
    dropped = [drop_rare_labels(kept, frequent, minimum) for kept, _ in unique]
    images = [left for left, _ in dropped if left.num_rows]
    rejected += [*unusable, *(rare for _, rare in dropped)]
    edges = [group_edges(table) for table in images]
    if heldout.duplicate_distance:
        distance = heldout.duplicate_distance
        bands = shuffle((banded(t, distance) for t in images), lambda t: band_bucket(t, distance))
        edges += [look_edges(table, distance) for table in bands]
    roots = [place_components(edges, heldout.salt)]
    placed = shuffle((with_place(t, roots, heldout) for t in images), by_number("place"))
    groups = [sort_by_place(table) for table in placed]
    cut = find_cut([qualifying_sizes(table, heldout) for table in groups], heldout.size)
    seen = unite_keys([surely_seen(table, cut, heldout) for table in groups])
    sided = [decide_sides(table, cut, seen, heldout) for table in groups]
    classes = build_classes(
        [count_labels(table) for table in sided], [m.label_names for m in merged]
    )
    totals = sum_totals([count_sides(table, heldout) for table in sided])
    shards = shards_of(totals, config.shards)
    planned = shuffle(
        (plan_images(t, classes, shards) for t in sided), lambda t: numbers(t, "shard")
    )
    large = totals.large_groups
    return Decided(
        listed=sum(m.listed for m in merged),
        rejected=sorted(tuples(rejected)),
        duplicates=sorted(tuples(duplicates)),
        classes=tuples([classes.select(["name", "train", "heldout"])]),
        work_items={
            name: [Record(**record) for record in records.to_pylist()]
            for table in planned
            for name, records in work_items(table, shards)
        },
        sides={str(side): (t.images, t.stored_bytes) for side, t in totals.sides.items()},
        large_groups=(large.groups, large.images, large.largest),
    )


def look_at(images: pa.Table, files: Mapping[str, File]) -> tuple[pa.Table, pa.Table]:
    ids = column(images, "image_id").to_pylist()
    looked = [files[image_id] for image_id in ids]
    reasons = [None if file.reason is None else str(file.reason) for file in looked]
    good = [file if file.reason is None else None for file in looked]
    facts = {
        "image_id": ids,
        "digest": pa.array([file and file.digest for file in good], pa.binary(16)),
        "look": pa.array([file and file.look for file in good], pa.uint64()),
        "stored_bytes": pa.array([file and file.stored_bytes for file in good], pa.int64()),
        "reason": pa.array(reasons, pa.string()),
        "detail": pa.array([reason and "of the file" for reason in reasons], pa.string()),
    }
    return apply_facts(images, pa.table(facts))


def by_text(name: str) -> Callable[[pa.Table], np.ndarray]:
    return lambda table: hash_texts(column(table, name), "bucket")


def by_number(name: str) -> Callable[[pa.Table], np.ndarray]:
    return lambda table: mix(numbers(table, name))


def tuples(tables: Iterable[pa.Table]) -> list[tuple]:
    return [tuple(row.values()) for table in tables for row in table.to_pylist()]


@pytest.mark.parametrize("name", SETTINGS)
def test_decisions_are_those_of_a_plain_loop(name):
    config = PreprocessingConfig.model_validate({"catalog": {"path": "a.csv"}, **SETTINGS[name]})
    for seed in range(10):
        rng = random.Random(f"{name} {seed}")
        rows = random_rows(rng)
        files = random_files(rng, rows)
        tables = random_tables(rng, rows)
        assert drive(tables, files, config, Shuffle(rng)) == decide(rows, files, config), seed
