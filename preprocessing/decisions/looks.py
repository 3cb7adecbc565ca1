"""Pictures that look alike.

Two 64-bit looks that differ in at most d bits agree in at least one of d + 1 bands of bits
(pigeonhole), so only looks that share a band are compared. A band that many looks share says
little; within it the same argument is applied to the remaining bits, and so on, which finds the
same pairs as comparing each with each.
"""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pyarrow as pa

from manylabel.preprocessing.decisions.columns import numbers, run_starts
from manylabel.preprocessing.decisions.components import EDGES
from manylabel.preprocessing.decisions.hashing import mix
from manylabel.preprocessing.decisions.union_find import (
    COMPARE_ALL,
    are_joined,
    find_roots,
    join_all,
    join_small_runs,
)

HASH_BITS = 64
"""Of a perceptual hash, see `images.examine`."""

MIN_SET_BITS = 8
"""A look with fewer bits set is of a nearly blank page and says little: it counts as near to an
equal one only. Measured on 5,303 clip-art pictures: within 2 bits, chains of small pictures on
white pages join 183 unlike images; without them the largest group is 36 smileys of one theme."""

BANDS = pa.schema([("band", pa.uint8()), ("look", pa.uint64())])


def banded(images: pa.Table, distance: int) -> pa.Table:
    """Each look once in each band (BANDS); a look that says too little in none."""
    looks = np.unique(numbers(images, "look"))
    looks = looks[np.bitwise_count(looks) >= MIN_SET_BITS]
    bands = np.repeat(np.arange(distance + 1, dtype=np.uint8), len(looks))
    return pa.table([bands, np.tile(looks, distance + 1)], schema=BANDS)


def band_bucket(table: pa.Table, distance: int) -> np.ndarray:
    """Equal for looks that share a band (uint64)."""
    band, look = numbers(table, "band"), numbers(table, "look")
    keys = np.empty(len(look), np.uint64)
    for number, (start, end) in enumerate(_band_edges(HASH_BITS, distance)):
        mine = band == number
        keys[mine] = mix(_cut_bits(look[mine], start, end) ^ np.uint64(number << 60))
    return keys


def look_edges(table: pa.Table, distance: int) -> pa.Table:
    """Ties looks that are near to each other (EDGES): each to the smallest that it is joined with,
    by one edge at most."""
    looks = np.unique(numbers(table, "look"))
    parents = np.arange(len(looks))
    for number, (start, end) in enumerate(_band_edges(HASH_BITS, distance)):
        mine = numbers(table, "look")[numbers(table, "band") == number]
        _join_band(mine, np.searchsorted(looks, mine), HASH_BITS, (start, end), distance, parents)
    roots = find_roots(parents)
    tied = np.flatnonzero(roots != np.arange(len(looks)))
    nulls = pa.nulls(len(tied), pa.string())
    return pa.table([looks[tied], looks[roots[tied]], nulls], schema=EDGES)


def _join_band(
    looks: np.ndarray,
    members: np.ndarray,
    bits: int,
    band: tuple[int, int],
    distance: int,
    parents: np.ndarray,
) -> None:
    """Joins looks that share the bits [start, end)."""
    start, end = band
    rest = bits - (end - start)
    turned = _band_on_top(looks, bits, end)
    order = np.argsort(turned)
    turned, members = turned[order], members[order]
    starts = np.append(run_starts(turned >> np.uint64(rest)), len(turned))
    join_small_runs(turned, members, starts, distance, parents)
    for large in np.flatnonzero(np.diff(starts) > COMPARE_ALL):
        run = slice(starts[large], starts[large + 1])
        if rest <= distance:  # All that they can differ in.
            join_all(parents, members[run][1:], members[run][:-1])
            continue
        for part in _band_edges(rest, distance):
            if are_joined(parents, members[run]):
                break
            _join_band(_cut_bits(turned[run], 0, rest), members[run], rest, part, distance, parents)


def _band_edges(bits: int, distance: int) -> Iterator[tuple[int, int]]:
    return pairwise(bits * band // (distance + 1) for band in range(distance + 2))


def _cut_bits(looks: np.ndarray, start: int, end: int) -> np.ndarray:
    return (looks >> np.uint64(start)) & np.uint64((1 << (end - start)) - 1)


def _band_on_top(looks: np.ndarray, bits: int, end: int) -> np.ndarray:
    """Turns the lowest `bits` bits so that a band that ended at `end` is the highest."""
    if end == bits:
        return looks
    upper = looks >> np.uint64(end)
    return upper | (_cut_bits(looks, 0, end) << np.uint64(bits - end))
