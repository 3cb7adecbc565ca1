"""A busy machine, on which a node of Ray takes longer than Ray waits; none is started here."""

import os
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from ray._private import services

from manylabel.cluster import slow_start
from manylabel.cluster.errors import BusyMachineError, ClusterError
from manylabel.cluster.slow_start import time_to_start


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    """clock.now: seconds, which pass while somebody sleeps."""
    clock = SimpleNamespace(now=0.0)

    def sleep(seconds):
        clock.now += seconds

    monkeypatch.setattr(
        slow_start, "time", SimpleNamespace(monotonic=lambda: clock.now, sleep=sleep)
    )
    return clock


@pytest.fixture
def node(monkeypatch, clock):
    """node(seconds): it is there after that time; until then Ray raises what it does."""

    def replace(seconds):
        def get_node(gcs_address, node_id):
            if clock.now < seconds:
                raise RuntimeError("no node")
            return {"node": node_id}

        monkeypatch.setattr(services, "get_node", get_node)

    return replace


def ask():
    return services.get_node("127.0.0.1:6379", "7")  # as Ray does, by the module's name


def test_a_node_that_takes_longer_than_ray_s_half_minute_is_waited_for(node):
    node(seconds=100)
    with time_to_start():
        assert ask() == {"node": "7"}


def test_one_that_does_not_come_is_given_up(node, clock):
    node(seconds=1e6)
    with time_to_start(), pytest.raises(BusyMachineError, match="timed out after 180 s"):
        ask()
    assert clock.now < 190


@pytest.fixture
def ended(tmp_path):
    """A raylet of this process that has ended."""
    (tmp_path / "raylet").symlink_to("/bin/false")
    with subprocess.Popen([str(tmp_path / "raylet")]) as raylet:
        while "Z" not in Path(f"/proc/{raylet.pid}/stat").read_text():
            time.sleep(0.01)
        yield


def test_one_that_ended_is_not_waited_for(node, clock, ended):
    node(seconds=1e6)
    with time_to_start(), pytest.raises(ClusterError, match="raylet ended") as caught:
        ask()
    assert not isinstance(caught.value, BusyMachineError)
    assert clock.now == 0


def test_one_that_waited_for_its_agents_may_find_them_at_another_time(
    node, clock, ended, monkeypatch
):
    node(seconds=1e6)
    see = slow_start._node_ended
    monkeypatch.setattr(slow_start, "_node_ended", lambda: clock.now >= 15 and see())
    with time_to_start(), pytest.raises(BusyMachineError, match="timed out over its agents"):
        ask()


def test_ray_is_as_before_when_it_has_started(node, monkeypatch):
    name = "RAY_gcs_server_port_wait_time_s"
    monkeypatch.delenv(name, raising=False)
    node(seconds=0)
    before = services.get_node
    with time_to_start():
        assert os.environ[name] == "180"
    assert services.get_node is before
    assert name not in os.environ
    monkeypatch.setenv(name, "7")
    with time_to_start():
        assert os.environ[name] == "7"
    assert os.environ[name] == "7"
