"""The cluster that a job starts on this machine, with processes that are like workers."""

import os
import sys
from pathlib import Path

import pytest
import ray

from manylabel.trainer.config import TopologyConfig
from manylabel.trainer.program.cluster import ray_cluster

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A cluster that runs as long as these tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(tmp_path_factory.mktemp("own")), prepend=os.pathsep)
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


def test_workers_search_neither_the_current_folder_nor_that_of_the_script(start):
    found = ray.get(start().search_path.remote())
    assert os.environ["PYTHONPATH"].split(os.pathsep)[0] in found, "what the user adds is there"
    assert not {"", str(Path.cwd()), str(Path(sys.argv[0]).resolve().parent)} & set(found)
