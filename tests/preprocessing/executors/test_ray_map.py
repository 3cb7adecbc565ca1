"""What a map does for want of room, without Ray."""

import itertools
from contextlib import nullcontext
from types import SimpleNamespace

import pytest

from manylabel.preprocessing.errors import ClusterLostError, PreprocessingError
from manylabel.preprocessing.executors import ray_map
from manylabel.preprocessing.executors.ray_map import TaskMap
from manylabel.preprocessing.executors.ray_nodes import Demand


@pytest.mark.parametrize(
    ("retry", "error"), [(False, PreprocessingError), (True, ClusterLostError)]
)
def test_room_that_an_earlier_attempt_had_is_waited_for_and_tried_again(monkeypatch, retry, error):
    seconds = itertools.count()
    clock = SimpleNamespace(monotonic=lambda: next(seconds), sleep=lambda _: None)
    monkeypatch.setattr(ray_map, "time", clock)
    monkeypatch.setattr(ray_map, "is_retry", lambda: retry)
    monkeypatch.setattr(ray_map, "alive_nodes", lambda: {"a": {"CPU": 1.0}})
    executor = SimpleNamespace(
        demand=Demand(2, 0), node="", cluster=nullcontext, head_answers=lambda: True
    )
    work = TaskMap(executor, lambda items, node: None, iter([[1]]))
    with pytest.raises(PreprocessingError, match="no node of the Ray cluster has room") as caught:
        list(work.results())
    assert type(caught.value) is error
    assert (next(seconds) > 60) is retry, "time to start a node anew"
