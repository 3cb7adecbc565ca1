"""Counting labels over all buckets: which are frequent, and which are the classes."""

from collections.abc import Iterable

import numpy as np
import pyarrow as pa

from manylabel.preprocessing.decisions.columns import (
    column,
    concat,
    encode,
    found_in,
    numbers,
    replace_column,
)
from manylabel.preprocessing.decisions.image_labels import Labels
from manylabel.preprocessing.decisions.listing import LABEL_NAMES, rejections
from manylabel.preprocessing.errors import PreprocessingError
from manylabel.preprocessing.rejections import RejectReason

COUNTS = pa.schema([("key", pa.uint64()), ("train", pa.int64()), ("heldout", pa.int64())])
CLASSES = pa.schema([*COUNTS, ("name", pa.string())])


def count_labels(images: pa.Table) -> pa.Table:
    """Images that have each label (COUNTS); before the split all count as training images."""
    labels = Labels.of(images).present()
    keys, key = encode(pa.array(labels.key))
    if "heldout" in images.column_names:
        heldout = numbers(images, "heldout")[labels.image]
    else:
        heldout = np.zeros(len(key), bool)
    sides = [np.bincount(key[side], minlength=len(keys)) for side in (~heldout, heldout)]
    return pa.table([keys, *sides], schema=COUNTS)


def sum_counts(tables: Iterable[pa.Table]) -> pa.Table:
    """COUNTS of all tables together, sorted by key."""
    table = concat([COUNTS.empty_table(), *tables])
    sums = [("train", "sum"), ("heldout", "sum")]
    table = table.group_by("key", use_threads=False).aggregate(sums)
    return table.rename_columns(COUNTS.names).sort_by("key")


def frequent_labels(tables: Iterable[pa.Table], minimum: int) -> np.ndarray:
    """Keys of the labels that at least `minimum` images have, sorted; from counts before the
    split."""
    counts = sum_counts(tables)
    return numbers(counts, "key")[numbers(counts, "train") >= minimum]


def drop_rare_labels(
    images: pa.Table, frequent: np.ndarray, minimum: int
) -> tuple[pa.Table, pa.Table]:
    """The images with their frequent labels, and a rejection for each that has none left."""
    labels = Labels.of(images).among(frequent)
    left = labels.present().per_image(images.num_rows) > 0
    detail = f"none of its labels is on {minimum} images (labels.minimum_count)"
    rejected = rejections(images, ~left, RejectReason.NO_LABEL_LEFT, detail)
    images = replace_column(images, "labels", labels.lists(images.num_rows))
    return images.filter(pa.array(left)), rejected


def name_labels(tables: Iterable[pa.Table]) -> pa.Table:
    """LABEL_NAMES of all tables, each label once, sorted by key.

    Raises:
        PreprocessingError: two names have one key.
    """
    names = concat([LABEL_NAMES.empty_table(), *tables])
    names = names.group_by(["key", "name"], use_threads=False).aggregate([])
    names = names.sort_by([("key", "ascending"), ("name", "ascending")])
    keys = numbers(names, "key")
    again = np.flatnonzero(keys[1:] == keys[:-1])
    if len(again):
        one, other = column(names, "name").slice(again[0], 2).to_pylist()
        raise PreprocessingError(
            f"labels {one!r} and {other!r} have the same hash, so they cannot be told apart: "
            "rename one of them in the catalog"
        )
    return names


def build_classes(counts: Iterable[pa.Table], names: Iterable[pa.Table]) -> pa.Table:
    """The classes (CLASSES): every label that a training image has, by name in code point order.

    The order is by name, not by frequency, because metrics break ties between equal scores by
    class id: ids in order of frequency would lend an untrained model the frequency baseline.

    Args:
        counts: COUNTS of the images of both sides.
        names: LABEL_NAMES of all labels.
    """
    summed, named = sum_counts(counts), name_labels(names)
    trained = summed.filter(pa.array(numbers(summed, "train") > 0))
    known, at = found_in(numbers(trained, "key"), numbers(named, "key"))
    assert known.all(), "names of some counted labels are missing"
    trained = trained.append_column("name", column(named, "name").take(pa.array(at)))
    return trained.sort_by("name")
