"""The Ray cluster that a job runs on: joined, or started on this machine; and its room."""

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import ray
from ray._private import ray_constants
from ray.job_config import JobConfig

from manylabel.trainer.config import TopologyConfig
from manylabel.trainer.errors import TrainingError
from manylabel.trainer.program.ray_files import private_ray_files


@contextmanager
def ray_cluster(address: str | None, config: TopologyConfig, vector_bytes: int) -> Iterator[float]:
    """Joins the cluster at `address`, or starts one on this machine for as long as it is needed.

    A process that has called ray.init already stays in the cluster it is in.

    Args:
        vector_bytes: size of the model's flat vectors, which gradients and snapshots have.

    Yields:
        Cores for each worker.

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
        yield _place_workers(config)


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


def cpus_per_worker(config: TopologyConfig, nodes: Sequence[tuple[float, float]]) -> float | None:
    """Cores for each worker: as set, or as many as let all workers have a place.

    Args:
        nodes: cores and GPUs of each node. A worker is on one node, so their sums do not decide.

    Returns:
        None when there is no place for all workers.
    """
    if config.cpus_per_worker is not None:
        choices = [config.cpus_per_worker]
    else:
        shares = {cpus // count for cpus, _ in nodes for count in range(1, config.workers + 1)}
        choices = sorted((share for share in shares if share >= 1), reverse=True)
    for cpus_each in choices:
        places = sum(_places(node, cpus_each, config.gpus_per_worker) for node in nodes)
        if places >= config.workers:
            return cpus_each
    return None


def _places(node: tuple[float, float], cpus_each: float, gpus_each: float) -> int:
    cpus, gpus = node
    places = int(cpus // cpus_each)
    return min(places, int(gpus // gpus_each)) if gpus_each else places


def _place_workers(config: TopologyConfig) -> float:
    nodes = [
        (node["Resources"].get("CPU", 0.0), node["Resources"].get("GPU", 0.0))
        for node in ray.nodes()
        if node["Alive"]
    ]
    cpus_each = cpus_per_worker(config, nodes)
    if cpus_each is None:
        found = ", ".join(f"{cpus:g} cores and {gpus:g} GPUs" for cpus, gpus in nodes)
        raise TrainingError(
            f"expected room for {config.workers} workers with {config.cpus_per_worker or 1:g} "
            f"cores and {config.gpus_per_worker:g} GPUs each; the nodes have {found}; lower "
            "trainer.topology.workers, cpus_per_worker or gpus_per_worker"
        )
    return cpus_each


def _cannot_join(address: str | None, error: Exception) -> str:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    if address is None:
        return f"Ray could not be started on this machine: {reason}"
    advice = (
        "set RAY_AUTH_MODE=token and the cluster's RAY_AUTH_TOKEN on this machine"
        if "token" in str(error).lower()
        else "check the address (host:6379, or `auto` on a node of the cluster)"
    )
    return f"the Ray cluster at {address} could not be joined: {reason}; {advice}"
