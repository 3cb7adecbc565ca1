"""Held-out images: stable, grouped, sized."""

import pytest

from manylabel.preprocessing.config import HeldoutConfig
from manylabel.preprocessing.listing import Candidate
from manylabel.preprocessing.split import (
    HASH_RANGE,
    find_cut,
    group_edges,
    own_token,
    qualifies,
    record_order,
    shard_number,
    stable_hash,
)


def test_the_hash_is_the_same_in_every_process():
    """Pinned: another value would be another split of every dataset."""
    assert stable_hash("animals/cat.jpg", "manylabel") == 5645578042750675518


def test_hashes_are_uniform_and_independent():
    keys = [f"{i}.jpg" for i in range(4000)]
    low = [stable_hash(key, "a") < HASH_RANGE // 10 for key in keys]
    assert sum(low) == pytest.approx(400, abs=80)
    both = sum(
        stable_hash(k, "b") < HASH_RANGE // 10
        for k, is_low in zip(keys, low, strict=True)
        if is_low
    )
    assert both == pytest.approx(40, abs=25)
    counts = [0] * 8
    for key in keys:
        counts[shard_number(key, 8)] += 1
    assert min(counts) > 400
    assert sorted(keys, key=record_order) != keys


GROUPS = [(50, 2), (10, 3), (30, 1), (20, 4)]


@pytest.mark.parametrize(
    ("size", "cut"), [(0, 0), (1, 11), (3, 11), (4, 21), (7, 21), (8, 31), (9, 51), (99, 51)]
)
def test_a_number_of_images_takes_whole_groups_in_order(size, cut):
    assert find_cut(GROUPS, size) == cut


def test_a_fraction_is_a_threshold_whatever_the_groups():
    assert find_cut(GROUPS, 0.25) == find_cut([], 0.25) == HASH_RANGE // 4
    assert find_cut(GROUPS, 0.0) == 0


def test_all_images_of_a_group_must_qualify():
    one, two = Candidate("a", {"x": 1.0, "absent": 0.0}), Candidate("b", {"x": 1.0, "y": 1.0})
    assert qualifies([one, two], None, 1)
    assert not qualifies([one, two], None, 2)
    assert qualifies([two], None, 2)
    assert qualifies([two], {"x", "y"}, 2)
    assert not qualifies([two], {"x", "z"}, 2)


def test_tokens_and_edges():
    image = Candidate("a.jpg", {}, ("ann", "bob"), "digest", bytes(7) + b"\x0f")
    by_look, by_path = HeldoutConfig(), HeldoutConfig(duplicate_distance=None)
    assert own_token(image, by_look) == "look 000000000000000f"
    assert own_token(image, by_path) == "image a.jpg"
    edges = [("image a.jpg", "group ann"), ("image a.jpg", "group bob")]
    assert group_edges(image, by_path) == edges
    assert "group z" < own_token(image, by_path) < own_token(image, by_look)
