"""The look at a cluster, with a stand-in for its Jobs API."""

import json
import re
import shlex
import subprocess
import sys
import time

import pytest

from manylabel.cluster import check
from manylabel.cluster.check import JOB_PREFIX, check_cluster
from manylabel.cluster.errors import ClusterError
from manylabel.cluster.jobs_api import ClusterVersion, JobsApi, RayJob, RayJobState
from manylabel.cluster.probe import MARKER


class StandIn(JobsApi):
    """Runs the job's command to its end when it is asked for it the second time."""

    def __init__(self, *jobs, states=(RayJobState.RUNNING, RayJobState.SUCCEEDED)):
        self.address = "http://head:8265"
        self.earlier, self.states = list(jobs), list(states)
        self.submitted, self.deleted, self.stopped = [], [], []
        self.printed = f"{MARKER}[]"

    def asks_for_token(self):
        return True

    def version(self):
        return ClusterVersion(ray_version="2.60.0")

    def jobs(self):
        return self.earlier

    def submit(self, submission):
        self.submitted.append(submission)

    def job(self, submission_id):
        state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        return RayJob(submission_id=submission_id, status=state, message="why")

    def logs(self, submission_id):
        return self.printed

    def delete(self, submission_id):
        self.deleted.append(submission_id)

    def stop(self, submission_id):
        self.stopped.append(submission_id)


def ended(name, seconds_ago):
    end = None if seconds_ago is None else int((time.time() - seconds_ago) * 1000)
    return RayJob(submission_id=name, status=RayJobState.SUCCEEDED, end_time=end)


def test_what_is_found_is_beside_what_is_here():
    facts = check_cluster(StandIn(), ["/shared"])
    assert (facts.address, facts.asks_for_token, facts.nodes) == ("http://head:8265", True, ())
    assert facts.here.python == sys.version.split()[0]
    assert re.match(r"\d+\.\d+", facts.here.package)


def test_the_command_brings_its_program_and_runs_nothing_of_the_folder(tmp_path):
    """With a Ray of its own that has no node."""
    api = StandIn()
    check_cluster(api, ["/not-there/a b"], ["/data"])
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "json.py").write_text("raise SystemExit('executed')")
    library = tmp_path / "library" / "ray"
    (library / "util").mkdir(parents=True)
    (library / "__init__.py").write_text(
        "def init(address, **options): print('joined', address)\n"
        "def nodes(): return []\n"
        "def remote(**options): return lambda function: function\n"
        "def wait(references, **options): print('seconds', options['timeout']); return [], []\n"
    )
    (library / "job_config.py").write_text("class JobConfig: ...\n")
    (library / "util" / "__init__.py").touch()
    (library / "util" / "scheduling_strategies.py").write_text(
        "class NodeAffinitySchedulingStrategy: ...\n"
    )
    command = api.submitted[0].entrypoint.replace("python", shlex.quote(sys.executable), 1)
    done = subprocess.run(
        command,
        shell=True,
        cwd=tmp_path / "elsewhere",
        env={"PYTHONPATH": str(library.parent)},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.stdout.splitlines() == ["joined auto", "seconds 20.0", f"{MARKER}[]"], done.stderr
    argument = json.loads(shlex.split(command)[-1])
    assert (argument["folders"], argument["read_folders"]) == (["/not-there/a b"], ["/data"])


def test_earlier_looks_are_forgotten_once_ray_has_seen_them_end():
    old, new, running = f"{JOB_PREFIX}1", f"{JOB_PREFIX}2", f"{JOB_PREFIX}3"
    api = StandIn(ended(old, 60), ended(new, 1), ended(running, None), ended("train-1", 60))
    check_cluster(api)
    assert api.deleted == [old]


def test_a_job_that_does_not_end_is_stopped(monkeypatch):
    monkeypatch.setattr(check, "_JOB_SECONDS", 0.1)
    api = StandIn(states=[RayJobState.PENDING])
    with pytest.raises(ClusterError, match=r"it is PENDING \(why\); look at `ray status`"):
        check_cluster(api)
    assert api.stopped == [api.submitted[0].submission_id]
