"""Room for the workers on the nodes of a Ray cluster, and what each of them gets."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import ray
from ray._private.state import available_resources_per_node

from manylabel.storage.jobs import is_retry
from manylabel.trainer.config import TopologyConfig
from manylabel.trainer.errors import LostPartError, TrainingError

# What a job that has just ended held is free a moment later only.
PATIENCE_SECONDS = 10.0


class Resources(NamedTuple):
    """Of a node, or of a worker on it. A fraction of a GPU is shared with other workers."""

    cpus: float
    gpus: float


@dataclass(frozen=True)
class Node:
    """A node of a cluster that is alive.

    Attributes:
        whole: all that it has; free: what nobody has asked for.
        free_memory: bytes of its memory, beside the object store's, that nobody has asked for.
    """

    node_id: str
    address: str
    whole: Resources
    free: Resources
    free_memory: float


def room_for_workers(config: TopologyConfig) -> Resources:
    """What each worker gets on the cluster that this process has joined, of what is free there.

    Raises:
        TrainingError: there is no room for all workers; see `no_room`.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        nodes = living_nodes()
        gpus = gpus_per_worker(config, [node.whole for node in nodes])
        share = worker_share(config, [node.free for node in nodes], gpus)
        if share is not None:
            return share
        if not worker_share(config, [node.whole for node in nodes], gpus):
            advice = "lower trainer.topology.workers, cpus_per_worker or gpus_per_worker"
            break
        if time.monotonic() > deadline:
            advice = "wait for the other jobs there, or lower trainer.topology.workers"
            break
        time.sleep(0.1)
    found = ", ".join(
        f"{node.free.cpus:g} of {node.whole.cpus:g} cores and {node.free.gpus:g} of "
        f"{node.whole.gpus:g} GPUs"
        for node in nodes
    )
    raise no_room(
        f"expected room for {config.workers} workers with {config.cpus_per_worker or 1:g} cores "
        f"and {gpus:g} GPUs each; the nodes have free: {found}; {advice}"
    )


def no_room(problem: str) -> TrainingError:
    """The error of a cluster that is too small: the user's to mend, unless an earlier attempt of
    the same job had room there. Then a node was lost, or actors of that attempt are dying still,
    and another try may do."""
    return LostPartError(problem) if is_retry() else TrainingError(problem)


def gpus_per_worker(config: TopologyConfig, nodes: Sequence[Resources]) -> float:
    """As set, or one where there are any, in use or not: beside other jobs, too, a worker must not
    go as slowly as without a GPU and say nothing.

    Args:
        nodes: all that each node has.
    """
    if config.gpus_per_worker is not None:
        return config.gpus_per_worker
    return 1.0 if any(node.gpus >= 1 for node in nodes) else 0.0


def worker_share(
    config: TopologyConfig, nodes: Sequence[Resources], gpus: float
) -> Resources | None:
    """Cores as set, or as many as let all workers have a place, and GPUs as given.

    Args:
        nodes: what is free on each. A worker is on one node, so their sums do not decide.

    Returns:
        None when there is no place for all workers.
    """
    if config.cpus_per_worker is not None:
        choices = [config.cpus_per_worker]
    else:
        shares = {node.cpus // count for node in nodes for count in range(1, config.workers + 1)}
        choices = sorted((share for share in shares if share >= 1), reverse=True)
    for cpus in choices:
        share = Resources(cpus, gpus)
        if sum(places(node, share) for node in nodes) >= config.workers:
            return share
    return None


def places(node: Resources, share: Resources) -> int:
    """How many workers with a share have room on what is free of a node."""
    cores = _times(share.cpus, node.cpus)
    if share.gpus == 0:
        return cores
    if share.gpus >= 1:
        return min(cores, _times(share.gpus, node.gpus))
    whole, rest = divmod(node.gpus, 1)  # a fraction is of one GPU, not of what is left of two
    return min(cores, int(whole) * _times(share.gpus, 1) + _times(share.gpus, rest))


def _times(part: float, whole: float) -> int:
    """How often a part fits; 0.1 fits ten times into 1, which `1 // 0.1` denies."""
    return int(whole / part + 1e-6)


def living_nodes() -> list[Node]:
    """Of the cluster that this process has joined. ray.available_resources would say what is free
    of the whole cluster only; a process needs it of one node."""
    free = available_resources_per_node()
    return [
        Node(
            node["NodeID"],
            node["NodeManagerAddress"],
            _resources(node["Resources"]),
            _resources(free.get(node["NodeID"], {})),
            free.get(node["NodeID"], {}).get("memory", 0.0),
        )
        for node in ray.nodes()
        if node["Alive"]
    ]


def _resources(amounts: dict[str, float]) -> Resources:
    return Resources(amounts.get("CPU", 0.0), amounts.get("GPU", 0.0))
