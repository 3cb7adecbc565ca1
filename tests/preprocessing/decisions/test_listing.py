"""From rows to images, and from equal files to one image, whatever the order of rows."""

import random

import numpy as np
import pyarrow as pa
import pytest

from manylabel.preprocessing.decisions.image_labels import LABELS, Labels, label_keys
from manylabel.preprocessing.decisions.listing import (
    CHECKED,
    IMAGES,
    merge_equal_files,
    merge_rows,
    rejections,
)
from manylabel.preprocessing.decisions.rows import ROWS
from manylabel.preprocessing.rejections import RejectReason

NAMES = ["bird", "cat", "dog"]
KEYS = dict(zip(label_keys(pa.array(NAMES)).tolist(), NAMES, strict=True))


def rows_of(*rows):
    """Rows (image, spelling or None, label, confidence, group)."""
    return pa.table(
        [pa.array(v, t) for v, t in zip(zip(*rows, strict=True), ROWS.types, strict=True)],
        schema=ROWS,
    )


def tuples(table):
    return [tuple(row.values()) for row in table.to_pylist()]


def by_name(pairs):
    return {KEYS[pair["key"]]: pair["confidence"] for pair in pairs}


def label_lists(*images):
    """The column `labels`, from dicts of names."""
    keys = {name: key for key, name in KEYS.items()}
    return pa.array(
        [[{"key": keys[n], "confidence": c} for n, c in labels.items()] for labels in images],
        LABELS,
    )


def test_rows_become_images_in_the_order_of_their_paths():
    rows = [
        ("b.jpg", None, "cat", 0.25, "z"),
        ("é.jpg", None, "dog", 0.0, None),
        ("a/b.jpg", None, "dog", 1.0, None),
        ("b.jpg", None, "cat", 0.5, "a"),
        ("b.jpg", None, "dog", 0.0, "z"),
        ("é.jpg", None, "dog", 1.0, None),
        ("b.jpg", None, None, None, None),
    ]
    expected = [
        ("a/b.jpg", {"dog": 1.0}, []),
        ("b.jpg", {"cat": 0.5, "dog": 0.0}, ["a", "z"]),
        ("é.jpg", {"dog": 1.0}, []),
    ]
    rng = random.Random(0)
    first = None
    for _ in range(10):
        merged = merge_rows(rows_of(*rng.sample(rows, len(rows))))
        assert merged.images.schema == IMAGES
        assert [(i, by_name(ls), gs) for i, ls, gs in tuples(merged.images)] == expected
        assert {KEYS[key]: name for key, name in tuples(merged.label_names)} == {
            "cat": "cat",
            "dog": "dog",
        }
        assert merged.listed == 3
        first = first or merged.images
        assert merged.images == first


def test_all_spellings_but_one_are_duplicates():
    rows = [
        # The normalised one stands for the image.
        ("a.jpg", "./a.jpg", "cat", 1.0, None),
        ("a.jpg", None, "dog", 1.0, None),
        ("a.jpg", "x/../a.jpg", "cat", 1.0, None),
        ("a.jpg", "./a.jpg", "cat", 1.0, None),
        # It is not among these: the first does.
        ("b.jpg", "x/../b.jpg", "cat", 1.0, None),
        ("b.jpg", "./b.jpg", "cat", 1.0, None),
        ("b.jpg", ".//b.jpg", "cat", 1.0, None),
    ]
    for seed in range(5):
        merged = merge_rows(rows_of(*random.Random(seed).sample(rows, len(rows))))
        assert sorted(tuples(merged.duplicates)) == [
            ("./a.jpg", "a.jpg"),
            ("./b.jpg", "b.jpg"),
            ("x/../a.jpg", "a.jpg"),
            ("x/../b.jpg", "b.jpg"),
        ]
        assert merged.listed == 6


def test_images_without_a_path_or_a_label_are_rejected():
    merged = merge_rows(
        rows_of(
            ("absent.jpg", None, "cat", 0.0, None),
            ("listed.jpg", None, None, None, "g"),
            ("../out.jpg", None, "cat", 1.0, None),
            ("../none.jpg", None, None, None, None),
            ("https://a/b.jpg", None, "cat", 1.0, None),
            ("good.jpg", None, "cat", 1.0, None),
        )
    )
    assert merged.images.column("image_id").to_pylist() == ["good.jpg"]
    assert merged.listed == 6
    outside = "expected a path below the image root, received "
    assert sorted(tuples(merged.rejected)) == [
        ("../none.jpg", RejectReason.BAD_PATH, f"{outside}'../none.jpg'"),
        ("../out.jpg", RejectReason.BAD_PATH, f"{outside}'../out.jpg'"),
        ("absent.jpg", RejectReason.NO_LABEL, "only verified absences"),
        (
            "https://a/b.jpg",
            RejectReason.BAD_PATH,
            f"{outside}the URL 'https://a/b.jpg': pictures are read from files; set "
            "catalog.http to {} where all are to be fetched",
        ),
        ("listed.jpg", RejectReason.NO_LABEL, "listed without a usable label"),
    ]


def test_no_rows_are_no_images():
    merged = merge_rows(ROWS.empty_table())
    assert (merged.images.num_rows, merged.rejected.num_rows, merged.listed) == (0, 0, 0)


def checked(*images):
    """Images (image_id, labels by name, groups, first byte of the digest)."""
    ids, labels, groups, digests = zip(*images, strict=True)
    return pa.table(
        [
            pa.array(ids),
            label_lists(*labels),
            pa.array(groups, pa.list_(pa.string())),
            pa.array([bytes([digest]) * 16 for digest in digests], pa.binary(16)),
            pa.array(digests, pa.uint64()),
            pa.array(digests, pa.int64()),
        ],
        schema=CHECKED,
    ).append_column("token", pa.array(digests, pa.uint64()))


EQUAL = [
    ("b.jpg", {"cat": 0.5, "dog": 0.0}, ["g"], 7),
    ("z.jpg", {"dog": 1.0}, [], 9),
    ("a.jpg", {"cat": 0.25}, [], 7),
    ("c.jpg", {"bird": 1.0, "dog": 0.0}, ["f", "g"], 7),
    ("y.jpg", {"cat": 1.0}, ["f"], 8),
]


def test_equal_files_become_the_first_by_path():
    for seed in range(5):
        images = checked(*random.Random(seed).sample(EQUAL, len(EQUAL)))
        merged, duplicates = merge_equal_files(images)
        assert merged.schema == images.schema
        assert sorted(
            (row["image_id"], by_name(row["labels"]), row["groups"], row["token"])
            for row in merged.to_pylist()
        ) == [
            ("a.jpg", {"bird": 1.0, "cat": 0.5, "dog": 0.0}, ["f", "g"], 7),
            ("y.jpg", {"cat": 1.0}, ["f"], 8),
            ("z.jpg", {"dog": 1.0}, [], 9),
        ]
        assert sorted(tuples(duplicates)) == [("b.jpg", "a.jpg"), ("c.jpg", "a.jpg")]
        assert merged.column("digest").to_pylist() == [
            bytes([look]) * 16 for look in merged.column("look").to_pylist()
        ]


def test_different_files_stay_as_they_are():
    images = checked(EQUAL[0], EQUAL[1], EQUAL[4])
    merged, duplicates = merge_equal_files(images)
    assert merged == images
    assert duplicates.num_rows == 0


def test_a_slice_is_merged_like_a_table_of_its_own():
    images = checked(*EQUAL)
    part, whole = images.slice(2, 2), checked(*EQUAL[2:4])
    assert merge_equal_files(part) == merge_equal_files(whole)


@pytest.mark.parametrize("images", [1, 3, 1000])
def test_labels_are_sorted_and_merged_however_near_their_keys(images):
    """Keys that differ in their last bits alone, which one sort does not tell apart."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, images, 5000)
    key = (1 << 62) + rng.integers(0, 4, 5000).astype(np.uint64)
    confidence = rng.integers(0, 3, 5000) / 2
    expected: dict[tuple[int, int], float] = {}
    for pair in zip(image.tolist(), key.tolist(), confidence.tolist(), strict=True):
        expected[pair[:2]] = max(pair[2], expected.get(pair[:2], 0.0))
    merged = Labels(image, key, confidence).merged()
    found = zip(merged.image.tolist(), merged.key.tolist(), merged.confidence.tolist(), strict=True)
    assert [(pair[:2], pair[2]) for pair in found] == sorted(expected.items())


def test_a_detail_is_a_text_or_made_of_the_path():
    images = checked(*EQUAL)
    where = np.array([True, False, False, True, False])
    reason = RejectReason.NO_LABEL
    assert tuples(rejections(images, where, reason, "why")) == [
        ("b.jpg", reason, "why"),
        ("c.jpg", reason, "why"),
    ]
    assert tuples(rejections(images, where, reason, str.upper)) == [
        ("b.jpg", reason, "B.JPG"),
        ("c.jpg", reason, "C.JPG"),
    ]
