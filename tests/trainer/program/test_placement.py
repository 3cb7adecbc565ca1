"""Who is sent to which node."""

import pytest

from manylabel.trainer.config import TopologyConfig
from manylabel.trainer.program.placement import Placement, place, within_one_node
from manylabel.trainer.program.room import Node, Resources

SHARE = Resources(2, 0)


def node(name, cpus, free=None, memory=100.0, gpus=0):
    free = cpus if free is None else free
    return Node(name, f"10.0.0.{name}", Resources(cpus, gpus), Resources(free, gpus), memory)


def placed(nodes, *, workers=3, shards=1, share=SHARE, shard_bytes=10, driver="a"):
    config = TopologyConfig(workers=workers, parameter_shards=shards)
    return place(config, share, shard_bytes, nodes, driver)


@pytest.mark.parametrize(
    ("workers", "free", "expected"),
    [
        (3, {"a": 2, "b": 2, "c": 2}, "abc"),
        (3, {"a": 16, "b": 2, "c": 4}, "acb"),  # a node for each, the emptiest first
        (5, {"a": 16, "b": 2, "c": 4}, "acbac"),
        (7, {"a": 8, "b": 2, "c": 4}, "acbacaa"),  # a has four places, c two, b one
        (2, {"a": 1, "b": 2, "c": 4}, "cb"),
        (1, {"a": 1, "b": 2, "c": 1}, "b"),
        (4, {"a": 3, "b": 3, "c": 3}, None),
    ],
)
def test_workers_go_to_all_nodes_that_have_room(workers, free, expected):
    placement = placed([node(name, 16, cpus) for name, cpus in free.items()], workers=workers)
    assert (placement and "".join(placement.workers)) == expected


def test_a_worker_with_a_gpu_goes_where_there_are_gpus():
    nodes = [node("a", 64), node("b", 8, gpus=2), node("c", 8, gpus=1)]
    assert placed(nodes, share=Resources(2, 1)).workers == ("b", "c", "b")


def test_shards_are_spread_by_memory_and_over_nodes_that_compute():
    nodes = [node("a", 0, memory=1000), node("b", 8, memory=35), node("c", 8, memory=25)]
    assert placed(nodes, shards=4).shards == ("b", "c", "b", "c")
    assert placed(nodes, shards=5).shards == ("b", "c", "b", "c", "b")
    assert placed(nodes, shards=6) is None, "not on a head without cores"
    assert placed(nodes, shards=1, shard_bytes=36) is None


def test_the_coordinator_is_with_the_driver_if_that_runs_on_a_node():
    nodes = [node("a", 2), node("b", 8)]
    assert placed(nodes, driver="a") == Placement(("b", "a", "b"), ("a",), "a", 10)
    assert placed(nodes, driver="elsewhere").coordinator == "b"


def test_on_one_machine_shards_ask_for_no_more_than_there_is():
    small = node("a", 2, memory=100)
    assert within_one_node(30, 2, small) == 30
    assert within_one_node(80, 2, small) == 50
    assert within_one_node(80, 2, node("a", 2, memory=0)) == 1
    assert placed([small], workers=1, shards=2, shard_bytes=50) is not None
