"""The Ray cluster that a job runs on: joined, or started on this machine."""

import logging
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import ray
from ray._private import ray_constants
from ray.job_config import JobConfig

from manylabel.trainer.config import TopologyConfig
from manylabel.trainer.errors import TrainingError
from manylabel.trainer.program.ray_files import private_ray_files
from manylabel.trainer.program.room import Resources, room_for_workers


@contextmanager
def ray_cluster(
    address: str | None, config: TopologyConfig, vector_bytes: int
) -> Iterator[Resources]:
    """Joins the cluster at `address`, or starts one on this machine for as long as it is needed.

    A process that has called ray.init already stays in the cluster it is in.

    Args:
        vector_bytes: size of the model's flat vectors, which gradients and snapshots have.

    Yields:
        What each worker gets.

    Raises:
        TrainingError: the cluster cannot be reached, or has no room for the workers.
    """
    with ExitStack() as stack:
        if not ray.is_initialized():
            if address is None:
                stack.enter_context(_started_here(config, vector_bytes))
            else:
                _init(address, address=address)
            stack.callback(ray.shutdown)
        yield room_for_workers(config)


@contextmanager
def _started_here(config: TopologyConfig, vector_bytes: int) -> Iterator[None]:
    # A new page of the object store costs many times what a used one does; a store that holds
    # little more than what is under way comes back to its pages. One gradient and up to two
    # snapshots per worker are under way.
    store = max(256 * 2**20, (4 * config.workers + 4) * vector_bytes)
    with private_ray_files() as files:
        with _loopback_only():
            _init(
                None,
                address="local",  # not the one of RAY_ADDRESS, or of an earlier `ray start`
                num_cpus=max(
                    len(os.sched_getaffinity(0)),
                    round(config.workers * (config.cpus_per_worker or 1)),
                ),
                object_store_memory=store,
                include_dashboard=False,
                # Ray's own is 15: beside any other busy process, training would nearly stand still.
                _system_config={"worker_niceness": 0},
                **files,
            )
        yield


def _init(where: str | None, **options: Any) -> None:
    try:
        ray.init(
            **options, job_config=_InstalledCode(), log_to_driver=False, logging_level=logging.ERROR
        )
    except Exception as error:  # Ray raises just that when a busy machine is slow to start it
        raise TrainingError(_cannot_join(where, error)) from error


class _InstalledCode(JobConfig):
    """Workers import what is installed on their node, and what PYTHONPATH there adds.

    Ray would put the driver's current folder and the folder of its script before both, so that a
    user's `trainer.py` or `random.py` would be executed; except where the job has a working
    directory of its own, which Ray asks for by this method.
    """

    def _runtime_env_has_working_dir(self) -> bool:
        return True


@contextmanager
def _loopback_only() -> Iterator[None]:
    """Clusters that are started meanwhile listen on the loopback interface alone.

    Ray does so on macOS and Windows, where it supports no clusters of several machines, as this
    constant of it says. Its argument `_node_ip_address` cannot do it.
    """
    before = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before


def _cannot_join(address: str | None, error: Exception) -> str:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    if address is None:
        advice = (
            "; run again when the machine is less busy, or set RAY_raylet_start_wait_time_s to "
            "more than 30 seconds"
            if "timed out" in reason
            else ""
        )
        return f"Ray could not be started on this machine: {reason}{advice}"
    advice = (
        "set RAY_AUTH_MODE=token and the cluster's RAY_AUTH_TOKEN on this machine"
        if "token" in str(error).lower()
        else "check the address (host:6379, or `auto` on a node of the cluster)"
    )
    return f"the Ray cluster at {address} could not be joined: {reason}; {advice}"
