"""The nodes of the Ray cluster that this process is in: what they have room for, and whether they
see what all share."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from manylabel.preprocessing.errors import ClusterLostError, PreprocessingError
from manylabel.preprocessing.executors.sight import Sight

_SECONDS_TO_ANSWER = 90.0
"""Of a node asked for a look: a worker starts in 1 s, and in half a minute on a busy node."""
_SECONDS_TO_FIND = 10.0  # a file that a node wrote: NFS tells of it after 3 s, by its defaults


Nodes = Mapping[str, Mapping[str, float]]
"""Ids of nodes, and what resources each has in all."""


def alive_nodes() -> Nodes:
    """Those that Ray has not given up."""
    return {node["NodeID"]: node["Resources"] for node in ray.nodes() if node["Alive"]}


@dataclass(frozen=True)
class Demand:
    """What a task asks for: CPUs, and memory in bytes; Ray counts both and binds neither."""

    cpus: float
    memory: int

    def tasks_on(self, resources: Mapping[str, float]) -> int:
        """How many go on a node of these resources."""
        return int(
            min(
                resources.get("CPU", 0.0) / self.cpus,
                resources.get("memory", 0.0) / self.memory if self.memory else float("inf"),
            )
        )

    def room(self, nodes: Nodes) -> int:
        """How many tasks the cluster can work on at a time."""
        return len(self.places(nodes))

    def places(self, nodes: Nodes) -> list[str]:
        """The nodes, each as often as it can work on a task at a time."""
        free = {node: self.tasks_on(resources) for node, resources in nodes.items()}
        rounds = range(max(free.values(), default=0))
        return [node for number in rounds for node, tasks in free.items() if tasks > number]

    def lack(self, nodes: Nodes) -> str:
        """Why there is no room at all."""
        cpus = max((node.get("CPU", 0.0) for node in nodes.values()), default=0.0)
        memory = max((node.get("memory", 0.0) for node in nodes.values()), default=0.0)
        return (
            f"no node of the Ray cluster has room for a task of {self.cpus:g} CPUs and "
            f"{self.memory:,} bytes; the largest has {cpus:g} CPUs and {memory:,.0f} bytes"
        )


def check_nodes(sight: Sight) -> None:
    """Has each node look at the places that all share, and write there.

    Raises:
        PreprocessingError: a node does not see them, or is not seen.
        ClusterLostError: a node does not answer.
    """
    asked = {}
    for node in ray.nodes():
        if node["Alive"]:
            on = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            task = ray.remote(_look).options(
                name="look at shared folders", num_cpus=0, max_retries=0, scheduling_strategy=on
            )
            name = node["NodeManagerAddress"]
            asked[task.remote(sight, f"{name}-{node['NodeID'][:8]}")] = name
    answered, silent = ray.wait(
        list(asked), num_returns=len(asked), timeout=_SECONDS_TO_ANSWER, fetch_local=False
    )
    for answer in answered:
        problem, mark = ray.get(answer)
        if problem is None and not _appears(sight.mark_of(mark)):
            problem = f"writes to another folder {sight.mark.parent.parent} than this machine"
        if problem is not None:
            raise PreprocessingError(unfit(asked[answer], problem))
    if silent:
        raise ClusterLostError(
            f"node {asked[silent[0]]} of the Ray cluster did not answer within "
            f"{_SECONDS_TO_ANSWER:.0f} seconds; run the same command again when it does, or is gone"
        )


def unfit(node: str, problem: str) -> str:
    """The error of a node with a problem."""
    return (
        f"node {node} of the Ray cluster {problem}; mount the same shared folders at the same "
        "paths on every node"
    )


def _look(sight: Sight, mark: str) -> tuple[str | None, str]:
    """The task."""
    problem = sight.missing()
    if problem is None:
        try:
            sight.leave_mark(mark)
        except OSError as error:
            problem = f"cannot write to {sight.mark.parent.parent}: {error.strerror or error}"
    return problem, mark


def _appears(path: Any) -> bool:
    deadline = time.monotonic() + _SECONDS_TO_FIND
    while not path.exists():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    path.unlink(missing_ok=True)
    return True
