"""What nodes have room for, and what a head that is lost is told as."""

import pytest

from manylabel.preprocessing.errors import ClusterLostError
from manylabel.preprocessing.executors.ray_nodes import Demand
from manylabel.preprocessing.executors.ray_tasks import lost_head
from manylabel.storage.errors import Transient

NODES = {
    "small": {"CPU": 2.0, "memory": 1e9},
    "large": {"CPU": 8.0, "memory": 3e9},
    "other": {"memory": 64e9},
}


@pytest.mark.parametrize(
    ("demand", "room"),
    [(Demand(1, 0), 10), (Demand(0.5, 0), 20), (Demand(1, 500_000_000), 8), (Demand(4, 0), 2)],
)
def test_a_node_has_room_for_what_tasks_ask_for(demand, room):
    assert demand.room(NODES) == room


def test_turns_go_round_the_nodes():
    assert Demand(3, 0).places(NODES) == ["large", "large"]
    assert Demand(1, 1_000_000_000).places(NODES) == ["small", "large", "large", "large"]


def test_a_lack_of_room_is_told_with_what_there_is():
    assert (
        Demand(16, 0)
        .lack(NODES)
        .endswith("a task of 16 CPUs and 0 bytes; the largest has 8 CPUs and 64,000,000,000 bytes")
    )


def test_a_lost_head_is_told_so_that_the_job_is_tried_again():
    error = lost_head("the head, 10.0.0.1:6379, has not answered for 21 s")
    assert isinstance(error, ClusterLostError)
    assert isinstance(error, Transient)
    assert str(error).startswith("the head, 10.0.0.1:6379, has not answered for 21 s; run")
