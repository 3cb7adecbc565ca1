"""The Ray cluster that a training job runs on."""

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import ray

from manylabel.cluster.errors import ClusterError
from manylabel.cluster.open_files import check_open_files
from manylabel.cluster.ray_cluster import ray_cluster
from manylabel.cluster.reachable import own_cluster
from manylabel.storage.errors import Transient
from manylabel.trainer.config import TopologyConfig, TrainerConfig
from manylabel.trainer.errors import LostPartError, TrainingError
from manylabel.trainer.plane.layout import ParameterLayout
from manylabel.trainer.program.placement import Placement, place, within_one_node
from manylabel.trainer.program.room import (
    PATIENCE_SECONDS,
    Resources,
    living_nodes,
    no_room,
    room_for_workers,
)
from manylabel.trainer.program.shard_memory import shard_bytes


@contextmanager
def joined_cluster(address: str | None, config: TopologyConfig) -> Iterator[bool]:
    """Joins the cluster that there is, if any: before anything of a run is written.

    Yields:
        Whether there is one; if not, `training_cluster` will start one.

    Raises:
        TrainingError: it cannot be reached, or has no room for the workers; or none can be started.
    """
    if (address or own_cluster()) is None and not ray.is_initialized():
        try:
            check_open_files(_cpus_to_offer(config))
        except ClusterError as error:
            raise TrainingError(str(error)) from error
        yield False
        return
    with _reached(address, 0, 0):
        room_for_workers(config)
        yield True


@contextmanager
def training_cluster(
    address: str | None, config: TopologyConfig, vector_bytes: int
) -> Iterator[Resources]:
    """Joins the cluster at `address`, or starts one on this machine for as long as it is needed.

    Args:
        vector_bytes: size of the model's flat vectors, which gradients and snapshots have.

    Yields:
        What each worker gets.

    Raises:
        TrainingError: the cluster cannot be reached, or has no room for the workers.
    """
    # A new page of the object store costs many times what a used one does; a store that holds
    # little more than what is under way comes back to its pages. One gradient and up to two
    # snapshots per worker are under way.
    store = max(256 * 2**20, (4 * config.workers + 4) * vector_bytes)
    with _reached(address, _cpus_to_offer(config), store):
        yield room_for_workers(config)


def placement_on_cluster(
    config: TrainerConfig, layout: ParameterLayout, share: Resources, *, started_here: bool
) -> Placement:
    """Who is to run where on the cluster that this process is in.

    Args:
        started_here: for this job alone, on this machine.

    Raises:
        TrainingError: there is no room for the shards.
    """
    driver = ray.get_runtime_context().get_node_id()
    needed = shard_bytes(config, layout)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        nodes = living_nodes()
        asked = (
            within_one_node(needed, config.topology.parameter_shards, nodes[0])
            if started_here
            else needed
        )
        placement = place(config.topology, share, asked, nodes, driver)
        if placement is not None:
            return placement
        if time.monotonic() > deadline:
            break
        time.sleep(0.1)
    free = ", ".join(f"{node.free_memory / 2**20:,.0f} MiB" for node in nodes)
    raise no_room(
        f"expected room for {config.topology.parameter_shards} parameter shards with "
        f"{needed / 2**20:,.0f} MiB of memory each, beside the workers; the nodes have free: "
        f"{free}; wait for the other jobs there, raise trainer.topology.parameter_shards, or "
        "start the nodes with a larger --memory"
    )


def _cpus_to_offer(config: TopologyConfig) -> int:
    """Of a cluster that is started here."""
    return max(len(os.sched_getaffinity(0)), round(config.workers * (config.cpus_per_worker or 1)))


@contextmanager
def _reached(address: str | None, cpus: int, store: int) -> Iterator[None]:
    with ExitStack() as stack:
        try:
            stack.enter_context(ray_cluster(address, cpus, store))
        except ClusterError as error:
            kind = LostPartError if isinstance(error, Transient) else TrainingError
            raise kind(str(error)) from error
        yield
