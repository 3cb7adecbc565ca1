"""The cluster that a job starts on this machine, with processes that are like workers."""

import os
import re
import sys
from collections import Counter
from pathlib import Path

import pytest
import ray

from manylabel.trainer.config import TopologyConfig
from manylabel.trainer.program import topology
from manylabel.trainer.program.cluster import ray_cluster

pytestmark = pytest.mark.integration

SECURITY = Path(__file__).parents[2] / "docs" / "security.md"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A cluster that runs as long as these tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", "/dev/null")  # as in a container without one
        patch.setenv("PYTHONPATH", str(tmp_path_factory.mktemp("own")), prepend=os.pathsep)
        for name in ("RAY_TMPDIR", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
            patch.delenv(name, raising=False)
        with ray_cluster(None, TopologyConfig(workers=2), 0):
            yield


@pytest.fixture
def start(cluster):
    """start(): the actor of a worker, which ends with the test."""

    class Worker:  # in here, because the workers cannot import this module
        def environment(self, name):
            return os.environ.get(name)

        def search_path(self):
            return sys.path

    actors = []

    def start(kind=Worker):
        actors.append(ray.remote(kind).options(num_cpus=0).remote())
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
    kinds = (topology._ShardActor, topology._CoordinatorActor, topology._WorkerActor)
    ray.get([start(kind).__ray_ready__.remote() for kind in kinds])
    found = listeners()
    assert [listener for listener in found if not listener.address.is_loopback] == []
    documented = documented_sockets()
    of_each = Counter((documented_name(listener), listener.process) for listener in found)
    assert {"manylabel", "raylet", "gcs_server", "ray::"} <= {name for name, _ in of_each}
    for (name, process), sockets in of_each.items():
        assert sockets <= documented.get(name, 0), (name, process, sockets, found)


def test_the_token_and_the_folder_are_private(cluster):
    token = Path(os.environ["RAY_AUTH_TOKEN_PATH"])
    assert token.stat().st_mode & 0o777 == 0o600
    assert token.parent.stat().st_mode & 0o777 == 0o700
    assert Path(ray.get_runtime_context().get_temp_dir()).parent == token.parent


def test_workers_search_neither_the_current_folder_nor_that_of_the_script(start):
    found = ray.get(start().search_path.remote())
    assert os.environ["PYTHONPATH"].split(os.pathsep)[0] in found, "what the user adds is there"
    assert not {"", str(Path.cwd()), str(Path(sys.argv[0]).resolve().parent)} & set(found)
