"""A schedule that has a real cluster evaluate: stopped while the job works, and called again."""

import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
import yaml

from manylabel.cluster.check import JOB_PREFIX
from manylabel.cluster.jobs_api import JobsApi
from manylabel.eval.schedule.config import ScheduleConfig
from manylabel.eval.schedule.records import FireRecord, Outcome
from manylabel.eval.schedule.store import FireStore
from manylabel.storage.jobs import Attempt, JobStage, JobState, JobStatus, attempt_path, status_path
from manylabel.trainer.runs.checkpoint import list_checkpoints
from tests.conftest import Demo
from tests.integration.nodes._ray_nodes import BIN, RayNodes

DEADLINE = 120  # seconds
NIGHTLY = ScheduleConfig(when="new_checkpoint", catch_up="latest")

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]


def fires(root: Path) -> list[FireRecord]:
    return FireStore(root).fires("every", NIGHTLY)


def test_a_fire_submits_is_stopped_and_finds_its_job_again(
    small_demo: Demo, nodes: RayNodes, folder: Path, monkeypatch: pytest.MonkeyPatch
):
    root = folder / "runs"
    (source,) = [path.parent for path in small_demo.output.glob("**/run.json")]
    shutil.copytree(
        source, root / "first", ignore=shutil.ignore_patterns("evals", "history", "jobs", "kept")
    )
    newest = list_checkpoints(root / "first")[-1].step
    schedules = {"every": {"when": "new_checkpoint", "catch_up": "latest"}}
    settings = {"address": nodes.address, "schedules": schedules}
    (root / "schedules.yaml").write_text(yaml.safe_dump(settings))
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(nodes.token_path))
    command = [str(BIN / "manylabel"), "schedule", "run-due", str(root)]
    known = {str(each.submission_id) for each in JobsApi(nodes.address).jobs()}

    first = subprocess.Popen(command)
    deadline = time.monotonic() + DEADLINE
    while not (fires(root) and fires(root)[0].jobs):
        assert first.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.1)
    first.send_signal(signal.SIGTERM)
    assert first.wait(DEADLINE) == 130
    (stopped,) = fires(root)
    assert stopped.outcome is Outcome.INTERRUPTED
    (job,) = stopped.jobs
    there = JobsApi(nodes.address).job(job.submission)
    assert there is not None
    assert not there.status.is_final, "it goes on without who submitted it"

    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE)
    assert done.returncode == 0, done.stdout + done.stderr
    given = {str(each.submission_id) for each in JobsApi(nodes.address).jobs()} - known
    given = {name for name in given if not name.startswith(JOB_PREFIX)}
    assert given == {job.submission}, "found, not given again"

    (fire,) = fires(root)
    assert (fire.outcome, fire.attempt, fire.failures, fire.jobs) == (Outcome.DONE, 2, 0, (job,))
    assert [(each.step, each.new) for each in fire.evaluations] == [(newest, True)]
    assert f"found at work: {job.submission}" in (root / str(fire.log)).read_text()
    place = root / "first"
    attempt = Attempt.read(attempt_path(place, JobStage.EVALUATE, 1))
    assert (attempt.submission, attempt.state) == (job.submission, JobState.DONE)
    assert JobStatus.read(status_path(place, JobStage.EVALUATE)).state is JobState.DONE

    # What has been evaluated does not need the cluster; what has not is told.
    with nodes.out_of_reach():
        listed = subprocess.run([*command[:2], "list", str(root)], capture_output=True, text=True)
        assert f"job of first: {job.submission} on {job.address}" in listed.stdout
        assert subprocess.run(command).returncode == 0
        other = schedules["every"] | {"overrides": ["eval.weights.kind=uniform"]}
        settings["schedules"] = {"other": other}
        (root / "schedules.yaml").write_text(yaml.safe_dump(settings))
        away = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE)
    assert away.returncode == 2
    assert f"other: {nodes.address}: " in away.stderr
    assert "tried again at" in away.stderr
