"""Who runs on which node: a pure function of what is free on each."""

from collections.abc import Sequence
from dataclasses import dataclass

from manylabel.trainer.config import TopologyConfig
from manylabel.trainer.program.room import Node, Resources, places


@dataclass(frozen=True)
class Placement:
    """The nodes, by their ids, on which a program's processes are to start.

    Attributes:
        workers, shards: one node for each, in order.
        shard_bytes: memory that each shard asks for.
    """

    workers: tuple[str, ...]
    shards: tuple[str, ...]
    coordinator: str
    shard_bytes: int


def place(
    config: TopologyConfig,
    share: Resources,
    shard_bytes: int,
    nodes: Sequence[Node],
    driver: str,
) -> Placement | None:
    """Spreads workers over all nodes that have room for one, and shards over all nodes.

    Every node gets a worker before any gets a second one; those with the most room come first.
    Workers bring the load, and two on a node share its network and its object store. The
    coordinator is small and talks to the driver most.

    Args:
        share: what a worker takes of its node.
        driver: the id of the node where the job's command runs.

    Returns:
        None when a worker or a shard has no place.
    """
    workers = _spread(config.workers, {node.node_id: places(node.free, share) for node in nodes})
    # A head without cores is there to look after the cluster.
    computing = [node for node in nodes if node.whole.cpus > 0] or list(nodes)
    shards = _spread(
        config.parameter_shards,
        {node.node_id: int(node.free_memory // shard_bytes) for node in computing},
    )
    if workers is None or shards is None:
        return None
    known = {node.node_id for node in nodes}
    coordinator = driver if driver in known else workers[0]
    return Placement(workers, shards, coordinator, shard_bytes)


def within_one_node(shard_bytes: int, shards: int, node: Node) -> int:
    """What a shard asks for on a node that is the whole cluster: there is nothing to choose, and
    who trains on a small machine may know better than an upper bound."""
    return max(1, min(shard_bytes, int(node.free_memory) // shards))


def _spread(count: int, places_of: dict[str, int]) -> tuple[str, ...] | None:
    """Gives `count` processes nodes, in rounds; None if there are not as many places."""
    left = dict(places_of)
    chosen: list[str] = []
    while len(chosen) < count:
        round_ = sorted((node for node in left if left[node] > 0), key=lambda node: -left[node])
        if not round_:
            return None
        for node in round_[: count - len(chosen)]:
            chosen.append(node)
            left[node] -= 1
    return tuple(chosen)
