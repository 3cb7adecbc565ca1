"""A held-out set that a catalog of its own lists: what training gives up for it, and which of its
labels training knows.

The held-out images are given, and none of them moves. So a training image goes when it is one of
them, near to one, or shares a group with one; it does not go because it is near to an image that
went. What is near is as in `looks`, pair by pair. The labels that training knows are those of the
images that are left to it.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from manylabel.preprocessing.config import HeldoutConfig
from manylabel.preprocessing.decisions.columns import (
    column,
    concat,
    flatten,
    found_in,
    numbers,
    replace_column,
    run_starts,
)
from manylabel.preprocessing.decisions.image_labels import Labels
from manylabel.preprocessing.decisions.looks import MIN_SET_BITS
from manylabel.preprocessing.decisions.split import sort_by_place
from manylabel.preprocessing.decisions.vocabulary import drop_rare_labels, name_labels
from manylabel.preprocessing.rejections import RejectReason
from manylabel.storage.schema import REJECTED_SCHEMA, UNKNOWN_LABELS_SCHEMA, SplitName

UNKNOWN = pa.schema([("key", pa.uint64()), ("images", pa.int64())])
"""Labels of held-out images that training does not know, and how many images have each."""

_PAIRS = 1 << 22
"""Looks that are compared at once: 32 MiB of differences."""

_FAR = 65
"""More bits than a look has."""


def with_side(images: pa.Table, *, heldout: bool) -> pa.Table:
    """Adds `heldout`, which says from which of two catalogs images are."""
    return images.append_column("heldout", pa.array(np.full(images.num_rows, heldout)))


def by_side(images: pa.Table) -> Iterator[tuple[SplitName, pa.Table]]:
    """The images of each catalog; without a column `heldout` all are of the one there is."""
    if "heldout" not in images.column_names:
        yield SplitName.TRAIN, images
        return
    heldout = column(images, "heldout")
    for side, there in ((SplitName.TRAIN, pc.invert(heldout)), (SplitName.HELDOUT, heldout)):
        mine = images.filter(there)
        if mine.num_rows:
            yield side, mine


def part(images: pa.Table, config: HeldoutConfig) -> tuple[pa.Table, pa.Table]:
    """The images without those that training may not have beside the held-out ones, and the
    rejections of these.

    Args:
        images: Whole groups, sorted by place.
    """
    heldout = numbers(images, "heldout")
    given = images.filter(pa.array(heldout)).sort_by("image_id")
    training = np.flatnonzero(~heldout)
    left = _Undecided(images.filter(pa.array(~heldout)))
    if given.num_rows and len(training):
        names = column(given, "image_id").to_pylist()
        _find_equal(left, given, names)
        if config.duplicate_distance is not None:
            _find_near(left, given, names, config.duplicate_distance)
        _find_grouped(left, given, names)
    stays = np.ones(images.num_rows, bool)
    stays[training[list(left.found)]] = False
    return images.filter(pa.array(stays)), left.rejections()


class _Undecided:
    """Training images, and why some of them cannot stay.

    Attributes:
        images: All of them.
        found: Reason and detail by row; the first one found counts.
    """

    def __init__(self, images: pa.Table) -> None:
        self.images = images
        self.found: dict[int, tuple[RejectReason, str]] = {}

    def reject(self, rows: Iterable[int], reason: RejectReason, details: Iterable[str]) -> None:
        for row, detail in zip(rows, details, strict=True):
            self.found.setdefault(int(row), (reason, detail))

    def rejections(self) -> pa.Table:
        paths = column(self.images, "image_id").take(pa.array(list(self.found), pa.int64()))
        reasons = [str(reason) for reason, _ in self.found.values()]
        details = [detail for _, detail in self.found.values()]
        return pa.table(
            [paths, pa.array(reasons, pa.string()), pa.array(details, pa.string())],
            schema=REJECTED_SCHEMA,
        )


def _find_equal(left: _Undecided, given: pa.Table, names: Sequence[str]) -> None:
    """Files of equal bytes; of the held-out ones no two are equal by now."""
    at = pc.index_in(column(left.images, "digest"), value_set=column(given, "digest"))
    rows = np.flatnonzero(at.is_valid().to_numpy(zero_copy_only=False))
    details = (f"{names[number]} has the same bytes" for number in at.drop_null().to_pylist())
    left.reject(rows, RejectReason.EQUAL_TO_HELDOUT, details)


def _find_near(left: _Undecided, given: pa.Table, names: Sequence[str], distance: int) -> None:
    """Near looks; they are in one group, so only groups that have both sides are looked into."""
    rows_of, given_of = _Groups.of(left.images), _Groups.of(given)
    both, at = found_in(rows_of.places, given_of.places)
    looks, given_looks = numbers(left.images, "look"), numbers(given, "look")
    for group in np.flatnonzero(both).tolist():
        rows, others = rows_of.rows(group), given_of.rows(int(at[group]))
        nearest, bits = _nearest(looks[rows], given_looks[others], distance)
        near = bits < _FAR
        details = (
            f"{names[others[other]]} looks like it: {count} of 64 bits differ"
            for other, count in zip(nearest[near], bits[near], strict=True)
        )
        left.reject(rows[near], RejectReason.NEAR_HELDOUT, details)


@dataclass(frozen=True)
class _Groups:
    """The rows of each place.

    Attributes:
        places: Ascending.
        order: Rows by place, and as they are within one.
        bounds: Of each place's rows in `order`.
    """

    places: np.ndarray
    order: np.ndarray
    bounds: np.ndarray

    @classmethod
    def of(cls, images: pa.Table) -> "_Groups":
        place = numbers(images, "place")
        order = np.argsort(place, kind="stable")
        starts = run_starts(place[order])
        return cls(place[order][starts], order, np.append(starts, len(order)))

    def rows(self, group: int) -> np.ndarray:
        return self.order[self.bounds[group] : self.bounds[group + 1]]


def _nearest(looks: np.ndarray, others: np.ndarray, distance: int) -> tuple[np.ndarray, np.ndarray]:
    """For each look the place of the nearest of the others, the first of several, and in how many
    bits they differ; _FAR where none is near."""
    nearest, bits = np.zeros(len(looks), np.int64), np.full(len(looks), _FAR)
    says_enough = np.bitwise_count(others) >= MIN_SET_BITS
    step = max(1, _PAIRS // len(others))
    for start, end in pairwise([*range(0, len(looks), step), len(looks)]):
        mine = looks[start:end, None]
        differ = np.bitwise_count(mine ^ others[None, :]).astype(np.int64)
        near = (differ <= distance) & says_enough & (np.bitwise_count(mine) >= MIN_SET_BITS)
        differ[~near & (differ > 0)] = _FAR
        nearest[start:end] = differ.argmin(axis=1)
        bits[start:end] = differ.min(axis=1)
    return nearest, bits


def _find_grouped(left: _Undecided, given: pa.Table, names: Sequence[str]) -> None:
    """Equal values of the group column."""
    owners, values = flatten(column(given, "groups"))
    first: dict[str, int] = {}
    for owner, value in zip(owners.tolist(), values.to_pylist(), strict=True):
        first.setdefault(value, owner)
    rows, values = flatten(column(left.images, "groups"))
    shared = pc.is_in(values, value_set=pa.array(list(first), pa.string()))
    rows = rows[shared.to_numpy(zero_copy_only=False)]
    details = (
        f"{names[first[value]]} is of the group {value!r} too"
        for value in values.filter(shared).to_pylist()
    )
    left.reject(rows, RejectReason.GROUP_OF_HELDOUT, details)


@dataclass(frozen=True)
class Known:
    """Images with the labels that training knows.

    Attributes:
        images: Of both sides, sorted by place.
        rejected: Of each side, images that have too few of them.
        unknown: UNKNOWN, of the held-out images.
    """

    images: pa.Table
    rejected: dict[SplitName, pa.Table]
    unknown: pa.Table


def keep_known_labels(
    images: pa.Table, known: np.ndarray, minimum_count: int, config: HeldoutConfig
) -> Known:
    """The images with the labels of `known`.

    Args:
        images: With the column `heldout`.
        known: Keys of the labels that training images have, at least `minimum_count` each; sorted.
    """
    sides = dict(by_side(images))
    empty = images.slice(0, 0)
    training, rare = drop_rare_labels(sides.get(SplitName.TRAIN, empty), known, minimum_count)
    heldout = sides.get(SplitName.HELDOUT, empty)
    labels = Labels.of(heldout)
    found = labels.among(known)
    enough = found.present().per_image(heldout.num_rows) >= config.minimum_labels
    rejected = _too_few(heldout, found, ~enough, config.minimum_labels)
    heldout = replace_column(heldout, "labels", found.lists(heldout.num_rows))
    return Known(
        sort_by_place(concat([training, heldout.filter(pa.array(enough))])),
        {SplitName.TRAIN: rare, SplitName.HELDOUT: rejected},
        _count_unknown(labels.present(), known),
    )


def _too_few(images: pa.Table, found: Labels, where: np.ndarray, minimum: int) -> pa.Table:
    had = Labels.of(images).present().per_image(images.num_rows)[where]
    has = found.present().per_image(images.num_rows)[where]
    details = [
        f"expected {minimum} labels that training images have (heldout.minimum_labels), received "
        f"{know} of {all_}"
        for know, all_ in zip(has.tolist(), had.tolist(), strict=True)
    ]
    paths = column(images, "image_id").filter(pa.array(where))
    reasons = pa.repeat(str(RejectReason.UNKNOWN_LABELS), len(paths))
    return pa.table([paths, reasons, pa.array(details, pa.string())], schema=REJECTED_SCHEMA)


def _count_unknown(labels: Labels, known: np.ndarray) -> pa.Table:
    missing = labels.filter(labels.rows_in(known) < 0)
    keys, images = np.unique(missing.key, return_counts=True)
    return pa.table([keys, images], schema=UNKNOWN)


def sum_unknown(tables: Iterable[pa.Table], names: Iterable[pa.Table]) -> pa.Table:
    """UNKNOWN of all tables together, by name (UNKNOWN_LABELS_SCHEMA), the most frequent first.

    Args:
        names: `listing.LABEL_NAMES` of all labels.
    """
    table = concat([UNKNOWN.empty_table(), *tables])
    table = table.group_by("key", use_threads=False).aggregate([("images", "sum")])
    named = name_labels(names)
    known, at = found_in(numbers(table, "key"), numbers(named, "key"))
    assert known.all(), "names of some unknown labels are missing"
    columns = [column(named, "name").take(pa.array(at)), column(table, "images_sum")]
    unknown = pa.table(columns, schema=UNKNOWN_LABELS_SCHEMA)
    return unknown.sort_by([("images", "descending"), ("name", "ascending")])
