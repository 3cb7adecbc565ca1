"""Everything that must stay on one side of the split: what looks alike or shares a group."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from manylabel.preprocessing.decisions.columns import column, concat, encode, flatten, numbers
from manylabel.preprocessing.decisions.union_find import find_roots, join_all

EDGES = pa.schema([("token", pa.uint64()), ("other", pa.uint64()), ("group", pa.string())])
"""Ties a token to a smaller token, or to a value of the group column."""


def group_edges(images: pa.Table) -> pa.Table:
    """Ties each token to the values of the group column (EDGES).

    Args:
        images: has the columns `token` and `groups`.
    """
    owner, groups = flatten(column(images, "groups"))
    tokens = numbers(images, "token")[owner]
    nulls = pa.nulls(len(groups), pa.uint64())
    return pa.table([tokens, nulls, groups], schema=EDGES)


def connected_components(edges: list[pa.Table]) -> tuple[np.ndarray, pa.Array, np.ndarray]:
    """Tokens that have an edge (sorted), the names of groups, and the root of each token.

    A root below the number of groups is that group; else it is a token, after the groups. The
    smallest group names a component, or else the smallest token.
    """
    table = concat([EDGES.empty_table(), *edges])
    token = numbers(table, "token")
    to_token = column(table, "other").is_valid().to_numpy(zero_copy_only=False)
    other = column(table, "other").drop_null().to_numpy()
    tokens = np.unique(np.concatenate((token, other)))
    groups, group = encode(column(table, "group"))
    order = pc.sort_indices(groups).to_numpy()
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    parents = np.arange(len(groups) + len(tokens))
    nodes = np.searchsorted(tokens, token) + len(groups)
    join_all(parents, nodes[to_token], np.searchsorted(tokens, other) + len(groups))
    join_all(parents, nodes[~to_token], rank[group[~to_token]])
    return tokens, groups.take(pa.array(order)), find_roots(parents)[len(groups) :]
