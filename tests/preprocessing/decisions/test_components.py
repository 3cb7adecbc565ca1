"""Connected components of looks and groups, held to a plain search."""

import numpy as np
import pyarrow as pa
import pytest

from manylabel.preprocessing.decisions.components import (
    EDGES,
    connected_components,
    group_edges,
)


def edges_of(pairs):
    """From (token, smaller token or group)."""
    tokens = [token for token, _ in pairs]
    others = [None if isinstance(other, str) else other for _, other in pairs]
    groups = [other if isinstance(other, str) else None for _, other in pairs]
    return pa.table([tokens, others, groups], schema=EDGES)


def names_of(tables):
    """The name of each token's component: its smallest group, or else its smallest token."""
    tokens, groups, roots = connected_components(tables)
    names = [*groups.to_pylist(), *tokens.tolist()]
    return {int(token): names[root] for token, root in zip(tokens, roots, strict=True)}


def searched(pairs):
    neighbours: dict[int | str, set[int | str]] = {}
    for one, other in pairs:
        neighbours.setdefault(one, set()).add(other)
        neighbours.setdefault(other, set()).add(one)
    found: dict[int | str, int | str] = {}
    for start in neighbours:
        reached, waiting = {start}, [start]
        while waiting:
            new = neighbours[waiting.pop()] - reached
            reached |= new
            waiting += new
        groups = [node for node in reached if isinstance(node, str)]
        name = min(groups) if groups else min(reached)
        found |= {node: name for node in reached if not isinstance(node, str)}
    return found


@pytest.mark.parametrize("seed", range(20))
def test_the_same_components_as_by_searching(seed):
    rng = np.random.default_rng(seed)
    count = int(rng.integers(1, 200))
    pairs = []
    for _ in range(count):
        token = int(rng.integers(1, 150))
        is_group = rng.random() < 0.3
        pairs.append((token, f"g{rng.integers(40)}" if is_group else int(rng.integers(token))))
    cuts = np.sort(rng.integers(0, count, 3))
    parts = [pairs[start:end] for start, end in zip([0, *cuts], [*cuts, count], strict=True)]
    assert names_of([edges_of(part) for part in parts]) == searched(pairs)


def test_the_order_of_edges_changes_nothing():
    pairs = [(9, 4), (4, "b"), (7, 2), (9, "a"), (2, 1)]
    expected = {9: "a", 4: "a", 7: 1, 2: 1, 1: 1}
    assert names_of([edges_of(pairs)]) == names_of([edges_of(pairs[::-1])]) == expected


def test_groups_are_in_the_order_of_code_points():
    """Which are the bytes of UTF-8: as Python orders texts."""
    groups = ["é", "z", "Z", "漢", "🐢", "a b", "a", "\uffff"]
    _, sorted_groups, _ = connected_components([edges_of([(1, group) for group in groups])])
    assert sorted_groups.to_pylist() == sorted(groups)
    assert names_of([edges_of([(1, group) for group in groups])]) == {1: min(groups)}


def test_nothing_is_tied():
    tokens, groups, roots = connected_components([])
    assert (len(tokens), len(groups), len(roots)) == (0, 0, 0)


def test_each_image_is_tied_to_its_groups():
    images = pa.table(
        {"token": pa.array([5, 6, 7], pa.uint64()), "groups": [["a", "b"], [], ["b"]]},
    )
    table = group_edges(images)
    assert table.schema == EDGES
    assert table.to_pylist() == [
        {"token": 5, "other": None, "group": "a"},
        {"token": 5, "other": None, "group": "b"},
        {"token": 7, "other": None, "group": "b"},
    ]
