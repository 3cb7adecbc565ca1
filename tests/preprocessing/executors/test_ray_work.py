"""The task on a node, without Ray: where it prints to, and that it shows its stacks."""

from types import SimpleNamespace

import pytest
from upath import UPath

from manylabel.preprocessing.executors import ray_work
from manylabel.preprocessing.executors.ray_work import Unseen, run
from manylabel.preprocessing.executors.sight import Sight
from manylabel.storage.stacks import stop_showing_stacks


@pytest.fixture
def logged(monkeypatch):
    """What the process was told to print to, without doing so."""
    told: list[object] = []
    node = SimpleNamespace(get_node_ip_address=lambda: "10.0.0.7")
    monkeypatch.setattr(ray_work, "ray", SimpleNamespace(util=node))
    monkeypatch.setattr(ray_work, "log_to", lambda logs, process: told.append((logs, process)))
    ray_work._show_stacks_once.cache_clear()
    ray_work._log_once.cache_clear()
    ray_work._missing_once.cache_clear()
    return told


def test_a_node_without_the_mount_gets_no_logs_on_its_own_disk(logged, tmp_path):
    dataset = tmp_path / "dataset"
    unseen = Sight(((UPath(tmp_path), ()),), UPath(dataset / "plan" / "shared.tmp"))
    answer = run(abs, [-1], unseen, dataset / "jobs" / "preprocess" / "0001")
    assert isinstance(answer.outcomes, Unseen)
    assert logged == []


def test_a_process_prints_to_its_file_from_its_first_batch_on(logged, tmp_path):
    for _ in range(2):
        assert run(abs, [-1], None, tmp_path).node == "10.0.0.7"
    assert len(logged) == 1


def test_a_process_shows_its_stacks_when_it_is_asked(logged, tmp_path):
    run(abs, [-1], None, tmp_path)
    assert stop_showing_stacks()
