"""Joining what belongs together, in arrays: compiled passes of `looks` and `components`.

A node's parent is a smaller node or, for a root, itself; the smallest node of a component is its
root. In one file, because numba's cache looks at a function's own file alone.
"""

import numpy as np

from manylabel.storage.compiled import compiled

COMPARE_ALL = 1024
"""Looks that share a band are compared each with each up to this many: some 0.4 microseconds a look
then, at a third of a nanosecond a comparison, which banding them again would cost as well."""

_BLOCK = 64  # Looks that are compared before it is asked whether one was near.


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
    """Joins near looks of each run [starts[i], starts[i + 1]) of at most COMPARE_ALL."""
    for run in range(len(starts) - 1):
        start, end = starts[run], starts[run + 1]
        if end - start > COMPARE_ALL:
            continue
        for one in range(start, end):
            for begin in range(one + 1, end, _BLOCK):
                stop = min(begin + _BLOCK, end)
                if not _any_near(looks[begin:stop], looks[one], distance):
                    continue
                for other in range(begin, stop):
                    if _differing_bits(looks[one], looks[other]) <= np.uint64(distance):
                        _join(parents, members[one], members[other])


@compiled()
def _any_near(looks, look, distance):  # type: ignore[no-untyped-def]
    near, most = 0, np.uint64(distance)
    for place in range(len(looks)):  # Without a jump: SIMD code.
        near += _differing_bits(looks[place], look) <= most
    return near > 0


@compiled()
def _differing_bits(one, other):  # type: ignore[no-untyped-def]
    """Adds up pairs of bits, then fours, then bytes (Warren, "Hacker's Delight", 5-1)."""
    bits = one ^ other
    bits -= (bits >> np.uint64(1)) & np.uint64(0x5555555555555555)
    fours = np.uint64(0x3333333333333333)
    bits = (bits & fours) + ((bits >> np.uint64(2)) & fours)
    bits = (bits + (bits >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return (bits * np.uint64(0x0101010101010101)) >> np.uint64(56)


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
