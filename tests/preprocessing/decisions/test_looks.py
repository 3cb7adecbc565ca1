"""Near looks: the same groups as comparing each with each, in bounded work."""

from itertools import combinations

import numpy as np
import pyarrow as pa
import pytest

from manylabel.preprocessing.decisions.columns import numbers
from manylabel.preprocessing.decisions.components import EDGES
from manylabel.preprocessing.decisions.looks import (
    MIN_SET_BITS,
    band_bucket,
    banded,
    look_edges,
)

RNG = np.random.default_rng(0)


def looks_of(values):
    return pa.table({"look": pa.array(np.asarray(values, np.uint64))})


def random_looks(count):
    return RNG.integers(0, 1 << 64, count, np.uint64)


def flipped(looks, bits):
    """Each look with so many random bits turned."""
    result = np.array(looks, np.uint64)
    for row in range(len(result)):
        for bit in RNG.choice(64, bits, replace=False):
            result[row] ^= np.uint64(1) << np.uint64(bit)
    return result


def sharing(bits, count):
    """Looks whose lowest bits are all set."""
    return random_looks(count) | np.uint64((1 << bits) - 1)


SETS = {
    "random": lambda: random_looks(300),
    "pairs": lambda: np.concatenate([half := random_looks(120), flipped(half, 2)]),
    "chains": lambda: np.cumsum(np.uint64(1) << np.arange(60, dtype=np.uint64)),
    "one ball": lambda: flipped(np.repeat(random_looks(1), 300), 3),
    "clusters": lambda: flipped(np.repeat(random_looks(12), 25), 2),
    "one band shared": lambda: sharing(22, 300),
    "two bands shared": lambda: sharing(43, 300),
    "all but few bits shared": lambda: sharing(54, 300),
    "nearly blank": lambda: np.uint64(1) << RNG.integers(0, 64, 200).astype(np.uint64),
    "around the limit of blank": lambda: np.array(
        [(1 << bits) - 1 << place for bits in range(5, 12) for place in range(0, 40, 3)], np.uint64
    ),
}


def groups(edges, looks):
    """Sets of looks that edges tie together."""
    group = {int(look): {int(look)} for look in looks}
    for one, other in edges:
        if group[one] is not group[other]:
            group[one] |= group[other]
            for member in group[one]:
                group[member] = group[one]
    return {frozenset(members) for members in group.values()}


def all_pairs(looks, distance):
    telling = [int(look) for look in set(looks.tolist()) if int(look).bit_count() >= MIN_SET_BITS]
    pairs = combinations(telling, 2)
    return [pair for pair in pairs if (pair[0] ^ pair[1]).bit_count() <= distance]


def in_buckets(looks, distance, buckets):
    """The edges as the graph finds them: each bucket of bands by itself."""
    table = banded(looks_of(looks), distance)
    bucket = band_bucket(table, distance) % np.uint64(buckets)
    parts = [
        look_edges(table.filter(pa.array(bucket == number)), distance) for number in range(buckets)
    ]
    return pa.concat_tables(parts)


def pairs_of(edges):
    return zip(edges["token"].to_pylist(), edges["other"].to_pylist(), strict=True)


@pytest.mark.parametrize("distance", [1, 2, 3, 5, 9, 15])
@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("buckets", [1, 7])
def test_the_same_groups_as_by_comparing_each_with_each(name, distance, buckets):
    looks = SETS[name]()
    edges = in_buckets(looks, distance, buckets)
    assert edges.schema == EDGES
    found = groups(pairs_of(edges), looks)
    assert found == groups(all_pairs(looks, distance), looks)


def test_a_look_has_one_edge_in_a_bucket_and_to_a_smaller_one():
    looks = SETS["one ball"]()
    edges = in_buckets(looks, 9, 1)
    token, other = numbers(edges, "token"), numbers(edges, "other")
    assert len(set(token.tolist())) == len(token) < len(looks)
    assert (other < token).all()


def test_looks_that_share_a_band_share_a_bucket():
    """Bands are told apart, so that equal bits in different bands do not meet."""
    table = banded(looks_of(sharing(22, 50)), 2)
    keys, bands = band_bucket(table, 2), numbers(table, "band")
    assert len(set(keys[bands == 0].tolist())) == 1
    assert len(set(keys[bands == 1].tolist())) > 40
    assert not set(keys[bands == 0].tolist()) & set(keys[bands != 0].tolist())


def test_no_looks_at_all():
    assert in_buckets(np.empty(0, np.uint64), 2, 1).num_rows == 0


@pytest.mark.parametrize("shared", [22, 43])
def test_many_looks_in_one_band_are_not_compared_each_with_each(shared, monkeypatch):
    """A million in one band would be half a trillion pairs. Counted are the looks that are sorted
    for all bands and bands within bands, which is what the work grows with."""
    from manylabel.preprocessing.decisions import looks as module

    counted = []
    real = module.join_small_runs

    def count(looks, *arguments):
        counted.append(len(looks))
        return real(looks, *arguments)

    monkeypatch.setattr(module, "join_small_runs", count)
    per_look = []
    for size in (20_000, 80_000):
        counted.clear()
        in_buckets(sharing(shared, size), 2, 1)
        per_look.append(sum(counted) / size)
    assert per_look[1] < 1.5 * per_look[0]
    assert per_look[1] < 40
