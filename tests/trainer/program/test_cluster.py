"""A cluster without room for the parameter shards."""

from types import SimpleNamespace
from typing import cast

import pytest

from manylabel.trainer.config import TopologyConfig, TrainerConfig
from manylabel.trainer.errors import LostPartError, TrainingError
from manylabel.trainer.plane.layout import ParameterLayout
from manylabel.trainer.program import cluster, room
from manylabel.trainer.program.cluster import placement_on_cluster
from manylabel.trainer.program.room import Node, Resources


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
