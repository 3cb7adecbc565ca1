"""Held-out images: stable, grouped, sized."""

import hashlib

import numpy as np
import pyarrow as pa
import pytest

from manylabel.preprocessing.config import HeldoutConfig
from manylabel.preprocessing.decisions.components import EDGES
from manylabel.preprocessing.decisions.hashing import HASH_RANGE
from manylabel.preprocessing.decisions.image_labels import LABELS
from manylabel.preprocessing.decisions.split import (
    ROOTS,
    SIZES,
    LargeGroups,
    decide_sides,
    find_cut,
    find_large_groups,
    place_components,
    qualifying_sizes,
    sort_by_place,
    sum_large_groups,
    surely_seen,
    unite_keys,
    with_place,
    with_token,
)


def place_of(name, salt="manylabel"):
    digest = hashlib.blake2b(f"{salt}\0{name}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % HASH_RANGE


def placed(*images):
    """Images (place, labels that are present, labels that are absent); labels are keys."""
    places, present, absent = zip(*images, strict=True)
    pairs = [
        [{"key": key, "confidence": 0.5} for key in there]
        + [{"key": key, "confidence": 0.0} for key in missing]
        for there, missing in zip(present, absent, strict=True)
    ]
    return pa.table({"place": pa.array(places, pa.uint64()), "labels": pa.array(pairs, LABELS)})


def sizes_of(*groups):
    places, images = zip(*groups, strict=True) if groups else ((), ())
    return pa.table([pa.array(places, pa.uint64()), pa.array(images, pa.int64())], schema=SIZES)


def heldout_of(images, cut, seen, **settings):
    decided = decide_sides(images, cut, np.array(seen, np.uint64), HeldoutConfig(**settings))
    return decided.column("heldout").to_pylist()


def test_a_place_is_the_same_in_every_process():
    """Pinned: another value would be another split of every dataset."""
    images = pa.table(
        {
            "image_id": ["animals/cat.jpg"],
            "digest": pa.array([bytes(range(16))], pa.binary(16)),
            "look": pa.array([0x0F], pa.uint64()),
        }
    )
    for distance, place in ((None, 2169902391245754032), (2, 872163236996540756)):
        config = HeldoutConfig(duplicate_distance=distance)
        tokens = with_token(images, config)
        assert with_place(tokens, [], config).column("place").to_pylist() == [place]


def test_images_share_their_look_or_else_their_bytes():
    images = pa.table(
        {
            "digest": pa.array([b"\x01" + bytes(14) + b"\xff", bytes(7) + b"\xfe" * 9]).cast(
                pa.binary(16)
            ),
            "look": pa.array([3, (1 << 64) - 1], pa.uint64()),
        }
    )
    tokens = with_token(images, HeldoutConfig()).column("token")
    assert tokens.to_pylist() == [3, (1 << 64) - 1]
    tokens = with_token(images, HeldoutConfig(duplicate_distance=None)).column("token")
    assert tokens.to_pylist() == [1 << 56, 0xFE]
    assert tokens.type == pa.uint64()


def test_a_group_is_placed_by_its_smallest_name():
    edges = pa.table(
        [[9, 8, 8, 7, 5], [8, None, None, None, 4], [None, "b", "a", "c", None]], schema=EDGES
    )
    roots = place_components([edges.slice(0, 2), edges.slice(2)], "salt")
    assert roots.schema == ROOTS
    assert dict(zip(*(roots.column(name).to_pylist() for name in ROOTS.names), strict=True)) == {
        4: place_of("look 0000000000000004", "salt"),
        5: place_of("look 0000000000000004", "salt"),
        7: place_of("group c", "salt"),
        8: place_of("group a", "salt"),
        9: place_of("group a", "salt"),
    }
    assert place_components([], "salt").num_rows == 0


def test_an_image_without_ties_is_placed_by_its_own_name():
    images = pa.table(
        {
            "image_id": ["é.jpg", "b.jpg", "c.jpg"],
            "look": pa.array([0xABCDEF, (1 << 64) - 1, 5], pa.uint64()),
            "token": pa.array([3, 2, 1], pa.uint64()),
        }
    )
    roots = [
        pa.table([[2], [22]], schema=ROOTS),
        pa.table([[7, 1], [77, 11]], schema=ROOTS),
    ]
    for distance, name in ((2, "look 0000000000abcdef"), (None, "image é.jpg")):
        for several in (roots, roots[::-1]):
            config = HeldoutConfig(duplicate_distance=distance)
            places = with_place(images, several, config).column("place").to_pylist()
            assert places == [place_of(name), 22, 11]


GROUPS = [(50, 2), (10, 3), (30, 1), (20, 4)]


@pytest.mark.parametrize(
    ("size", "cut"), [(0, 0), (1, 11), (3, 11), (4, 21), (7, 21), (8, 31), (9, 51), (99, 51)]
)
def test_a_number_of_images_takes_whole_groups_in_order(size, cut):
    assert find_cut([sizes_of(*GROUPS)], size) == cut
    assert find_cut([sizes_of(*GROUPS[:1]), sizes_of(), sizes_of(*GROUPS[1:])], size) == cut


def test_a_fraction_is_a_threshold_whatever_the_groups():
    assert find_cut([sizes_of(*GROUPS)], 0.25) == find_cut([], 0.25) == HASH_RANGE // 4
    assert find_cut([sizes_of(*GROUPS)], 0.0) == 0


def test_no_group_that_qualifies_is_no_cut():
    assert find_cut([], 5) == find_cut([sizes_of()], 5) == 0


def test_images_are_sorted_by_place():
    images = placed((5, [1], []), (HASH_RANGE - 1, [2], []), (0, [3], []), (5, [4], []))
    assert sort_by_place(images) == images.take(pa.array([2, 0, 3, 1]))


# Groups of two, one, three images and one; the second image of the first has one label only.
SORTED = placed(
    (10, [1, 2], []),
    (10, [1], [2]),
    (20, [1, 2], []),
    (30, [2, 3], []),
    (30, [2, 3], []),
    (30, [1, 2, 3], [4]),
    (40, [4, 5], []),
)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"minimum_labels": 1}, [(10, 2), (20, 1), (30, 3), (40, 1)]),
        ({"minimum_labels": 2}, [(20, 1), (30, 3), (40, 1)]),
        ({"minimum_labels": 3}, []),
        ({"largest_group": 2}, [(10, 2), (20, 1), (40, 1)]),
        ({"largest_group": 3}, [(10, 2), (20, 1), (30, 3), (40, 1)]),
        ({"largest_group": 1, "minimum_labels": 2}, [(20, 1), (40, 1)]),
        # No more than can be taken.
        ({"size": 2}, [(10, 2)]),
        ({"size": 3}, [(10, 2), (20, 1)]),
        ({"size": 4}, [(10, 2), (20, 1), (30, 3)]),
        # A fraction needs none.
        ({"size": 0.5}, []),
    ],
)
def test_the_sizes_of_groups_that_qualify(settings, expected):
    sizes = qualifying_sizes(SORTED, HeldoutConfig(**{"size": 100, **settings}))
    assert sizes == sizes_of(*expected)


def test_training_has_surely_seen_what_is_above_the_cut_or_does_not_qualify():
    def seen(cut, **settings):
        return surely_seen(SORTED, cut, HeldoutConfig(**settings)).column("key").to_pylist()

    assert seen(0) == [1, 2, 3, 4, 5]
    assert seen(20) == [1, 2, 3, 4, 5]
    assert seen(21) == [1, 2, 3, 4, 5]
    assert seen(31) == [4, 5]
    assert seen(41) == []
    assert seen(41, minimum_labels=2) == [1, 2]
    assert seen(41, minimum_labels=3) == [1, 2, 3, 4, 5]


def test_keys_of_all_tables_are_united():
    tables = [surely_seen(SORTED, cut, HeldoutConfig()) for cut in (31, 0, 41)]
    assert unite_keys(tables).tolist() == [1, 2, 3, 4, 5]
    assert unite_keys([]).tolist() == []


def test_a_group_is_held_out_when_training_has_seen_enough_of_each_image():
    everything = [1, 2, 3, 4, 5]
    assert heldout_of(SORTED, 41, everything) == [True] * 7
    assert heldout_of(SORTED, 40, everything) == [True] * 6 + [False]
    assert heldout_of(SORTED, 0, everything) == [False] * 7
    assert heldout_of(SORTED, 41, everything, minimum_labels=2) == [False] * 2 + [True] * 5
    # The first image alone would do; absences do not count.
    assert heldout_of(SORTED, 41, [2]) == [False] * 2 + [True] * 4 + [False]
    assert heldout_of(SORTED, 41, [1, 3, 4], minimum_labels=2) == [False] * 7
    assert heldout_of(SORTED, 41, [1, 2, 3], minimum_labels=2) == [False] * 2 + [True] * 4 + [False]
    assert heldout_of(SORTED, 41, []) == [False] * 7


def test_groups_that_are_too_large_stay_in_training():
    everything = [1, 2, 3, 4, 5]
    assert heldout_of(SORTED, 41, everything, largest_group=3) == [True] * 7
    assert heldout_of(SORTED, 41, everything, largest_group=2) == [True] * 3 + [False] * 3 + [True]
    assert heldout_of(SORTED, 41, everything, largest_group=1) == [
        *[False, False, True],
        *[False] * 3,
        True,
    ]


def test_a_limit_on_groups_moves_no_other_group():
    """With a fraction, whatever is seen in the groups that are too large."""

    def sides(largest_group):
        config = HeldoutConfig(size=0.5, largest_group=largest_group)
        cut = find_cut([qualifying_sizes(images, config)], config.size)
        seen = unite_keys([surely_seen(images, cut, config)])
        return decide_sides(images, cut, seen, config).column("heldout").to_pylist()

    high = HASH_RANGE - 1
    # The last label of the first image is seen in the large group alone.
    images = placed((1, [7], []), (2, [1, 7], []), (2, [1], []), (3, [1], []), (high, [1], []))
    assert sides(1000) == [False, True, True, True, False]
    assert sides(1) == [False, False, False, True, False]


def test_large_groups_are_counted():
    def large(largest_group, images=SORTED):
        return find_large_groups(images, HeldoutConfig(largest_group=largest_group))

    assert large(3) == LargeGroups(0, 0, 3)
    assert large(2) == LargeGroups(1, 3, 3)
    assert large(1) == LargeGroups(2, 5, 3)
    assert large(1, SORTED.slice(0, 0)) == LargeGroups(0, 0, 0)
    assert sum_large_groups([large(1), large(2), large(3)]) == LargeGroups(3, 8, 3)
    assert sum_large_groups([]) == LargeGroups(0, 0, 0)


def test_a_table_without_images_has_no_side():
    nothing = SORTED.slice(0, 0)
    config = HeldoutConfig(size=5)
    assert qualifying_sizes(nothing, config).num_rows == 0
    assert surely_seen(nothing, 41, config).num_rows == 0
    assert heldout_of(nothing, 41, [1]) == []
