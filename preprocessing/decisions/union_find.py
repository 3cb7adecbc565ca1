"""Joining what belongs together, in arrays: compiled passes of `looks` and `components`.

A node's parent is a smaller node or, for a root, itself; the smallest node of a component is its
root. In one file, because numba's cache looks at a function's own file alone.
"""

import numpy as np

from manylabel.storage.compiled import compiled

COMPARE_ALL = 64
"""Looks that share a band are compared each with each up to this many."""


@compiled()
def join_all(parents, ones, others):  # type: ignore[no-untyped-def]
    for edge in range(len(ones)):
        _join(parents, ones[edge], others[edge])


@compiled()
def find_roots(parents):  # type: ignore[no-untyped-def]
    roots = np.empty_like(parents)
    for node in range(len(parents)):
        roots[node] = _root(parents, node)
    return roots


@compiled()
def are_joined(parents, nodes):  # type: ignore[no-untyped-def]
    """Whether all nodes are in one component already."""
    for place in range(1, len(nodes)):
        if _root(parents, nodes[place]) != _root(parents, nodes[0]):
            return False
    return True


@compiled()
def join_small_runs(looks, members, starts, distance, parents):  # type: ignore[no-untyped-def]
    for run in range(len(starts) - 1):
        start, end = starts[run], starts[run + 1]
        if end - start > COMPARE_ALL:
            continue
        for one in range(start, end):
            for other in range(one + 1, end):
                if _set_bits(looks[one] ^ looks[other]) <= distance:
                    _join(parents, members[one], members[other])


@compiled()
def _set_bits(bits):  # type: ignore[no-untyped-def]
    count = 0
    while bits:
        bits &= bits - np.uint64(1)
        count += 1
        if count > 15:
            break
    return count


@compiled()
def _root(parents, node):  # type: ignore[no-untyped-def]
    while parents[node] != node:
        parents[node] = parents[parents[node]]
        node = parents[node]
    return node


@compiled()
def _join(parents, one, other):  # type: ignore[no-untyped-def]
    """The smaller root becomes the root of both."""
    one, other = _root(parents, one), _root(parents, other)
    if one < other:
        parents[other] = one
    else:
        parents[one] = other
