"""The Ray cluster that a training job runs on."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from manylabel.cluster.errors import ClusterError
from manylabel.cluster.ray_cluster import ray_cluster
from manylabel.trainer.config import TopologyConfig
from manylabel.trainer.errors import TrainingError
from manylabel.trainer.program.room import Resources, room_for_workers


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
    cpus = max(len(os.sched_getaffinity(0)), round(config.workers * (config.cpus_per_worker or 1)))
    # A new page of the object store costs many times what a used one does; a store that holds
    # little more than what is under way comes back to its pages. One gradient and up to two
    # snapshots per worker are under way.
    store = max(256 * 2**20, (4 * config.workers + 4) * vector_bytes)
    with ExitStack() as stack:
        try:
            stack.enter_context(ray_cluster(address, cpus, store))
        except ClusterError as error:
            raise TrainingError(str(error)) from error
        yield room_for_workers(config)
