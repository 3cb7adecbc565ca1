"""Banding and union-find against brute force."""

import random
from collections import defaultdict
from itertools import combinations

import pytest

from manylabel.preprocessing.near_duplicates import (
    MIN_SET_BITS,
    bands,
    close_pairs,
    connected_components,
)


def differing_bits(one, other):
    return (int.from_bytes(one, "big") ^ int.from_bytes(other, "big")).bit_count()


def related_hashes(count):
    """Hashes in clusters, so that many are near each other."""
    rng = random.Random(0)
    hashes: list[bytes] = []
    while len(hashes) < count:
        value = rng.getrandbits(64)
        for _ in range(4):
            hashes.append(value.to_bytes(8, "big"))
            for _ in range(rng.randint(1, 3)):
                value ^= 1 << rng.randrange(64)
    return hashes


@pytest.mark.parametrize("distance", [1, 2, 3, 7, 15])
def test_no_near_pair_is_missed_by_banding(distance):
    hashes = related_hashes(200)
    buckets = defaultdict(list)
    for look in hashes:
        for band in bands(look, distance):
            buckets[band].append(look)
    found = {pair for looks in buckets.values() for pair in close_pairs(looks, distance)}
    expected = {
        tuple(sorted(pair))
        for pair in combinations(set(hashes), 2)
        if differing_bits(*pair) <= distance
    }
    assert found == expected
    assert len(expected) > 50


@pytest.mark.parametrize("distance", [1, 2, 15])
def test_bands_cover_every_bit_once(distance):
    whole = list(bands(b"\xff" * 8, distance))
    assert [band for band, _ in whole] == list(range(distance + 1))
    assert sum(bits.bit_count() for _, bits in whole) == 64


def test_nearly_blank_pages_are_near_to_nothing():
    blank = ((1 << (MIN_SET_BITS - 1)) - 1).to_bytes(8, "big")
    enough = ((1 << MIN_SET_BITS) - 1).to_bytes(8, "big")
    assert list(bands(blank, 2)) == []
    assert len(list(bands(enough, 2))) == 3


def test_components_are_named_by_their_smallest_node():
    edges = [("d", "c"), ("b", "c"), ("x", "y"), ("b", "d"), ("a", "d")]
    expected = {"a": "a", "b": "a", "c": "a", "d": "a", "x": "x", "y": "x"}
    rng = random.Random(1)
    for _ in range(20):
        rng.shuffle(edges)
        turned = [(b, a) if rng.random() < 0.5 else (a, b) for a, b in edges]
        assert connected_components(turned) == expected
    assert connected_components([]) == {}
