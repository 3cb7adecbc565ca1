"""The coordinator's process answers a worker that waits when it need not wait any more."""

import threading
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from manylabel.storage.stacks import stop_showing_stacks
from manylabel.trainer.config import TrainerConfig
from manylabel.trainer.plane.policies.synchronous import SynchronousPolicy
from manylabel.trainer.program.processes import (
    CoordinatorProcess,
    GradientWorkerProcess,
    ParameterShardProcess,
)
from manylabel.trainer.program.topology import coordinator_threads
from tests.trainer.plane._plane import Plane

SOON, LATE = 0.2, 20.0  # seconds


@pytest.fixture
def plane(tmp_path):
    plane = Plane(tmp_path, policy=SynchronousPolicy(2))
    for worker in "abc":
        plane.coordinator.worker_started(worker)
        plane.coordinator.lease(worker)
        assert plane.ask(worker).version == 0
    return plane


@pytest.fixture
def process(plane):
    process = CoordinatorProcess()
    process._coordinator = plane.coordinator
    process._turn = threading.Condition()
    return process


@pytest.fixture
def threads():
    with ThreadPoolExecutor(4) as threads:
        yield threads


def waits(answer: Future) -> bool:
    try:
        answer.result(SOON)
    except TimeoutError:
        return True
    return False


def commit(process, plane, worker, start, base=0):
    report, squares = plane.stage(worker, range(start, start + 4), 1.0, base=base)
    return process.commit(report, *squares)


def test_a_round_that_is_closed_answers_all_in_it(process, plane, threads):
    first = threads.submit(commit, process, plane, "a", 0)
    assert waits(first)
    assert process.call("status").step == 0, "others have their turns meanwhile"
    assert commit(process, plane, "b", 8).version == 1
    assert first.result(LATE).version == 1
    assert commit(process, plane, "c", 16).version == 1, "too late, and not made to wait"


@pytest.mark.parametrize("end", ["stop", "dismissed"])
def test_a_worker_that_waits_for_nothing_is_told_to_stop(process, plane, threads, end):
    answer = threads.submit(commit, process, plane, "a", 0)
    assert waits(answer)
    process.call(*(["stop"] if end == "stop" else ["worker_ended", "a", "killed"]))
    assert answer.result(LATE) is None


def test_the_death_of_others_ends_a_wait(process, plane, threads):
    answer = threads.submit(commit, process, plane, "a", 0)
    process.call("worker_ended", "b", "killed")
    assert waits(answer)
    process.call("worker_ended", "c", "killed")
    assert answer.result(LATE).version == 1


@pytest.mark.parametrize(
    ("updates", "threads"),
    [
        ({}, 1),
        ({"compensation": {"name": "dc_asgd"}}, 1),
        ({"staleness": {"bound": 3, "beyond": "drop"}}, 1),
        ({"staleness": {"bound": 3}}, 20),
        ({"name": "synchronous"}, 20),
    ],
)
def test_only_where_workers_may_wait_are_several_calls_in_hand(updates, threads):
    config = TrainerConfig.model_validate({"topology": {"workers": 6}, "updates": updates})
    assert coordinator_threads(config) == threads


@pytest.mark.parametrize("kind", [CoordinatorProcess, ParameterShardProcess, GradientWorkerProcess])
def test_each_shows_its_stacks_when_it_is_asked(kind):
    """Before the program knows its process id, so that it is not asked too early."""
    kind()
    assert stop_showing_stacks()
