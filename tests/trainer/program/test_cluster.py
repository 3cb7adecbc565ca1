"""A cluster that cannot be started, on real Ray in a process of its own; and one without room."""

import os
import subprocess
import sys
from types import SimpleNamespace
from typing import cast

import pytest

from manylabel.trainer.config import TopologyConfig, TrainerConfig
from manylabel.trainer.errors import LostPartError, TrainingError
from manylabel.trainer.plane.layout import ParameterLayout
from manylabel.trainer.program import cluster, room
from manylabel.trainer.program.cluster import placement_on_cluster
from manylabel.trainer.program.room import Node, Resources

SLOW_MACHINE = """if True:
    import itertools, time, types
    import ray._private.node
    import ray._private.services
    from manylabel.trainer.config import TopologyConfig
    from manylabel.trainer.errors import TrainingError
    from manylabel.trainer.program.cluster import training_cluster

    # Ray gives a node 30 s: this one never comes, and each look at its clock takes as long.
    ray._private.services.RAYLET_EXECUTABLE = "/bin/false"
    clock = types.SimpleNamespace(**vars(time))
    clock.monotonic = itertools.count(0, 31).__next__
    ray._private.node.time = clock
    try:
        with training_cluster(None, TopologyConfig(), 0):
            pass
    except TrainingError as error:
        print(error)
"""


def test_a_machine_that_is_too_slow_to_start_ray_is_told_in_a_line():
    done = subprocess.run(
        [sys.executable, "-c", SLOW_MACHINE],
        env={**os.environ, "RAY_raylet_start_wait_time_s": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1
    assert done.stdout.startswith("Ray could not be started on this machine: ")
    assert "timed out during startup" in done.stdout
    assert "RAY_raylet_start_wait_time_s" in done.stdout, "what to do"


@pytest.fixture
def looks(monkeypatch):
    """Free memory of the only node, one number for each look; the last one stays."""
    found: list[float] = []

    def living_nodes():
        free = found.pop(0) if len(found) > 1 else found[0]
        return [Node("a", "10.0.0.1", Resources(4, 0), Resources(4, 0), free)]

    context = SimpleNamespace(get_node_id=lambda: "a")
    monkeypatch.setattr(cluster, "ray", SimpleNamespace(get_runtime_context=lambda: context))
    monkeypatch.setattr(cluster, "living_nodes", living_nodes)
    monkeypatch.setattr(cluster, "shard_bytes", lambda config, layout: 50 * 2**20)
    monkeypatch.setattr(cluster, "PATIENCE_SECONDS", 0.3)
    return found


def placed(*, started_here):
    config = TrainerConfig(topology=TopologyConfig(workers=1, parameter_shards=1))
    no_layout = cast(ParameterLayout, None)  # only shard_bytes would look at it
    return placement_on_cluster(config, no_layout, Resources(1, 0), started_here=started_here)


def test_a_look_before_memory_is_free_changes_nothing_of_what_shards_ask_for(looks):
    looks[:] = [0, 2**30]
    assert placed(started_here=True).shard_bytes == 50 * 2**20


@pytest.mark.parametrize(("retry", "error"), [(False, TrainingError), (True, LostPartError)])
def test_what_had_room_in_an_earlier_attempt_is_tried_again(looks, monkeypatch, retry, error):
    monkeypatch.setattr(room, "is_retry", lambda: retry)
    monkeypatch.setattr(room, "living_nodes", cluster.living_nodes)
    looks[:] = [2**20]
    for ask in (
        lambda: placed(started_here=False),
        lambda: room.room_for_workers(TopologyConfig(workers=5)),
    ):
        with pytest.raises(TrainingError, match="the nodes have free: ") as caught:
            ask()
        assert type(caught.value) is error
