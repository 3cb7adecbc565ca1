"""The cluster that a job starts on this machine, with two GPUs that are not there."""

import importlib
import os
import re
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
import ray

from manylabel.trainer import job
from manylabel.trainer.config import TopologyConfig, TrainerConfig
from manylabel.trainer.errors import LostPartError, TrainingError
from manylabel.trainer.program import losses, processes, room
from manylabel.trainer.program.cluster import training_cluster
from manylabel.trainer.program.room import Resources, room_for_workers
from manylabel.trainer.program.topology import worker_options
from manylabel.trainer.runs.directory import describe_run

pytestmark = pytest.mark.integration

SECURITY = Path(__file__).parents[2] / "docs" / "security.md"
WORKERS = 2
CPUS = len(os.sched_getaffinity(0))


@pytest.fixture(scope="module")
def share(tmp_path_factory):
    """What the room says of a cluster that runs as long as these tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_OVERRIDE_RESOURCES", '{"GPU": 2}')
        patch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
        patch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # as the command line sets it
        patch.setenv("HOME", "/dev/null")  # as in a container without one
        patch.setenv("PYTHONPATH", str(tmp_path_factory.mktemp("own")), prepend=os.pathsep)
        for name in ("RAY_TMPDIR", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
            patch.delenv(name, raising=False)
        with training_cluster(None, TopologyConfig(workers=WORKERS), 0) as share:
            yield share


@pytest.fixture
def start(share):
    """start(share): the actor of a worker, which ends with the test."""

    class Worker:  # in here, because the workers cannot import this module
        def environment(self, name):
            return os.environ.get(name)

        def search_path(self):
            return sys.path

        def work(self):
            time.sleep(600)

    actors = []

    def start(share, kind=Worker):
        actors.append(ray.remote(kind).options(**worker_options(share)).remote())
        return actors[-1]

    yield start
    for actor in actors:
        ray.kill(actor)


def documented_sockets():
    """Name of a process -> how many sockets of it the documentation lists."""
    rows = re.findall(r"^\| `([^`]+)`[^|]*\| (\d+) \|", SECURITY.read_text("utf-8"), re.MULTILINE)
    assert len(rows) == 8
    return {name: int(count) for name, count in rows}


def documented_name(listener):
    if listener.process == os.getpid():
        return "manylabel"
    program, *arguments = listener.command.split()
    name = Path(program).name
    if name.startswith("python"):
        name = next(Path(word).name for word in arguments if word.endswith(".py"))
    agents = ("ray::RuntimeEnvAgent", "ray::DashboardAgent")
    is_worker = name == "default_worker.py" or (name.startswith("ray::") and name not in agents)
    return "ray::" if is_worker else name


def test_only_the_sockets_that_the_documentation_lists_are_open(start, listeners):
    kinds = (
        processes.ParameterShardProcess,
        processes.CoordinatorProcess,
        processes.GradientWorkerProcess,
    )
    ray.get([start(Resources(0.1, 0), kind).__ray_ready__.remote() for kind in kinds])
    found = listeners()
    assert [listener for listener in found if not listener.address.is_loopback] == []
    documented = documented_sockets()
    of_each = Counter((documented_name(listener), listener.process) for listener in found)
    assert {"manylabel", "raylet", "gcs_server", "ray::"} <= {name for name, _ in of_each}
    for (name, process), sockets in of_each.items():
        assert sockets <= documented.get(name, 0), (name, process, sockets, found)


def test_the_token_and_the_folder_are_private(share):
    token = Path(os.environ["RAY_AUTH_TOKEN_PATH"])
    assert token.stat().st_mode & 0o777 == 0o600
    assert token.parent.stat().st_mode & 0o777 == 0o700
    assert Path(ray.get_runtime_context().get_temp_dir()).parent == token.parent


def test_workers_search_neither_the_current_folder_nor_that_of_the_script(start):
    found = ray.get(start(Resources(0.1, 0)).search_path.remote())
    assert os.environ["PYTHONPATH"].split(os.pathsep)[0] in found, "what the user adds is there"
    assert not {"", str(Path.cwd()), str(Path(sys.argv[0]).resolve().parent)} & set(found)


def test_by_default_a_worker_sees_one_gpu_of_its_own(share, start):
    assert share == Resources(max(1, CPUS // WORKERS), 1)
    workers = [start(Resources(0.1, share.gpus)) for _ in range(WORKERS)]
    seen = ray.get([worker.environment.remote("CUDA_VISIBLE_DEVICES") for worker in workers])
    assert sorted(seen) == ["0", "1"]


def test_a_worker_without_gpus_sees_none(start):
    config = TopologyConfig(workers=WORKERS, gpus_per_worker=0)
    worker = start(room_for_workers(config))
    assert ray.get(worker.environment.remote("CUDA_VISIBLE_DEVICES")) == ""


def test_room_is_counted_from_what_is_free(start, monkeypatch):
    monkeypatch.setattr(room, "PATIENCE_SECONDS", 0.5)
    config = TopologyConfig(workers=WORKERS, cpus_per_worker=0.1)
    other_job = start(Resources(CPUS - 0.5, 1))
    ray.get(other_job.environment.remote(""))
    expected = rf"workers with 0.1 cores and 1 GPUs .* 0.5 of {CPUS} cores and 1 of 2 GPUs; wait"
    with pytest.raises(TrainingError, match=expected):
        room_for_workers(config)
    cores_only = config.model_copy(update={"gpus_per_worker": 0})
    assert room_for_workers(cores_only) == Resources(0.1, 0)
    ray.kill(other_job)
    monkeypatch.undo()
    assert room_for_workers(config) == Resources(0.1, 1), "what a job held is free when it ended"


def test_what_no_idle_cluster_has_is_refused_at_once(share, monkeypatch):
    monkeypatch.setattr(room, "PATIENCE_SECONDS", 1e6)
    with pytest.raises(TrainingError, match=r"3 workers .* 1 GPUs .*; lower .*gpus_per_worker"):
        room_for_workers(TopologyConfig(workers=3, cpus_per_worker=0.1))


def test_a_run_is_as_it_was_when_the_cluster_has_no_room_for_it(share, clipart_dataset, tmp_path):
    def try_to_train(**settings):
        config = TrainerConfig.model_validate({**settings, "topology": {"gpus_per_worker": 8}})
        with pytest.raises(TrainingError, match="expected room"):
            job.train(config, clipart_dataset.root, run)
        return config

    run = tmp_path / "run"
    small = {"input_size": 32, "width": 0.01, "middle_repeats": 0}
    config = try_to_train(model=small)
    assert not run.exists()

    describe_run(run, clipart_dataset, config, {})
    files = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    try_to_train(model=small, epochs=2)
    assert files == {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}


def test_an_actor_that_cannot_be_created_is_not_a_lost_one(start, tmp_path, monkeypatch):
    """As on a node without our package: this module is found by the driver alone."""
    (tmp_path / "only_here.py").write_text("class Actor:\n    def start(self): ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    only_here = importlib.import_module("only_here")

    answer = start(Resources(0.1, 0), only_here.Actor).start.remote()
    with pytest.raises(
        TrainingError, match=r"could not be created \(.*No module named 'only_here'"
    ):
        losses.plain_answer(answer)
    end = losses.how_it_ended("worker-0", answer)
    assert "only_here" in str(end.error), "the job ends with it; others would fare no better"


def test_a_lost_actor_is_told_as_lost(start, monkeypatch):
    """Where it was as well, so that a disk of this machine that is full is blamed for it."""
    actor = start(Resources(0.1, 0))
    ray.get(actor.environment.remote(""))
    answer = actor.work.remote()
    ray.kill(actor)
    with pytest.raises(LostPartError, match=r"was lost \(.*\); run the same command again"):
        losses.plain_answer(answer)
    monkeypatch.setattr(losses, "full_here", lambda error: "No space left on device: /dev/shm")
    with pytest.raises(TrainingError, match=r"was lost \(its process ended; No space .*make room"):
        losses.plain_answer(answer)
