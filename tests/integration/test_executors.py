"""Executors of preprocessing that listen or start processes: worker processes, and tasks on Ray.

What they do is code for `eval`, since a process that is started cannot import this module.
"""

import importlib
import os
import signal
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest
import ray
from upath import UPath

from manylabel.preprocessing.config import PreprocessingConfig
from manylabel.preprocessing.errors import ClusterLostError, PreprocessingError
from manylabel.preprocessing.executors import Lost, Task, open_executor
from manylabel.preprocessing.executors.processes import Processes
from manylabel.preprocessing.executors.ray_map import AHEAD
from manylabel.preprocessing.executors.ray_tasks import RayTasks
from tests.preprocessing.executors import contract

pytestmark = pytest.mark.integration

CPUS = len(os.sched_getaffinity(0))
PROCESS = "__import__('os').getpid()"
KILLS_ITSELF = "__import__('os').kill(__import__('os').getpid(), 9)"


def slow(seconds, result=PROCESS):
    return f"(__import__('time').sleep({seconds}), {result})[1]"


@pytest.fixture(scope="module")
def executor(tmp_path_factory):
    """On a cluster that runs as long as these tests."""
    images, plan = tmp_path_factory.mktemp("images"), tmp_path_factory.mktemp("plan")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("RAY_TMPDIR", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
            patch.delenv(name, raising=False)
        config = {"catalog": {"path": "labels.csv"}, "executor": "ray"}
        settings = PreprocessingConfig.model_validate(config)
        with open_executor(settings, "mine", [UPath(images)], UPath(plan)) as executor:
            yield executor


def test_worker_processes_listen_nowhere(listeners, hostile_folder):
    before = listeners()
    with closing(Processes(2)) as executor:
        assert list(executor.map(eval, [slow(0.1, 1)] * 4, 1)) == [1] * 4
        assert listeners() == before


def test_tasks_listen_at_the_loopback_interface_alone(executor, listeners):
    assert set(executor.map(eval, [slow(0.2, 1)] * 4 * CPUS, 1)) == {1}
    found = listeners()
    assert any("ray::" in listener.command for listener in found)
    assert [listener for listener in found if not listener.address.is_loopback] == []


def test_it_keeps_the_promises_of_an_executor(executor):
    contract.gives_results_in_order(executor)
    contract.reads_ahead(executor, at_most=AHEAD * CPUS * 10)
    contract.raises_at_its_turn(executor)


def test_a_node_without_our_modules_is_told_in_a_line(executor, tmp_path, monkeypatch):
    """As one with another version: this module is found by the driver alone."""
    (tmp_path / "only_in_the_driver.py").write_text("def double(item):\n    return 2 * item\n")
    monkeypatch.syspath_prepend(tmp_path)
    double = importlib.import_module("only_in_the_driver").double
    with pytest.raises(
        PreprocessingError, match=r"No module named 'only_in_the_driver'; install .* node$"
    ):
        list(executor.map(double, [1], 1))


def test_a_task_is_named_by_the_dataset_and_what_is_done(executor):
    name = "__import__('ray').get_runtime_context().get_task_name()"
    assert list(executor.map(eval, [name], 1)) == ["mine/eval"]
    assert list(executor.map(eval, [name], 1, Task.CHECK_PICTURES)) == ["mine/check pictures"]


def test_an_item_that_kills_its_process_is_lost_and_no_other(executor, capfd):
    items = ["0", KILLS_ITSELF, "2", "3"]
    expected = [0, Lost("its process ended three times"), 2, 3]
    assert list(executor.map(eval, items, 3)) == expected
    assert capfd.readouterr() == ("", ""), "Ray would print a page for each"


def test_a_killed_worker_is_replaced(executor):
    results = executor.map(eval, [slow(0.05)] * 40, 4)
    victim = next(results)
    os.kill(victim, signal.SIGKILL)
    assert len(list(results)) == 39
    assert not Path(f"/proc/{victim}").exists()


def test_closing_a_map_ends_what_is_under_way(executor):
    results = executor.map(eval, [PROCESS, *[slow(60)] * 9], 1)
    next(results)
    results.close()
    assert len(set(executor.map(eval, [slow(0.2)] * 4 * CPUS, 1))) == CPUS, "there is room again"


def test_a_map_in_another_thread_asks_no_cluster_that_was_left(executor):
    """Asked for anything after ray.shutdown, Ray starts a cluster with open doors."""
    failures = []
    closed = RayTasks(executor.demand, "mine")

    def work():
        try:
            list(closed.map(eval, [slow(60)] * 4, 1))
        except PreprocessingError as error:
            failures.append(str(error))

    thread = threading.Thread(target=work)
    thread.start()
    time.sleep(0.5)
    closed.close()
    thread.join(5)
    assert failures == ["the Ray cluster was left before the work was done"]
    with pytest.raises(PreprocessingError, match="was left"):
        next(closed.map(str, [1], 1))
    assert next(executor.map(str, [1], 1)) == "1", "there is room for others"


def test_what_ray_fails_with_is_told_in_a_line(executor):
    """As when a node or the head is lost, which takes Ray a minute to find."""
    results = executor.map(eval, [slow(0.05, 1)] * 40, 1)
    assert next(results) == 1
    (work,) = (work for work in executor._maps if work._window)
    ray.cancel(work._window[-1].task, force=True)
    with pytest.raises(ClusterLostError, match=r"^the Ray cluster failed: .*; run the same .*$"):
        list(results)
