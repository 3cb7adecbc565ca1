"""What befalls submitted jobs and who submits them: what the user sees, the exit code, and what
stands in the run afterwards."""

import datetime
import os
import re
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from manylabel.cluster.check import JOB_PREFIX
from manylabel.cluster.jobs_api import JobsApi
from manylabel.pipeline.submission.listing import job_at
from manylabel.pipeline.submission.state import Standing
from manylabel.pipeline.submission.submit import unfinished
from manylabel.storage.dataset import Dataset
from manylabel.storage.jobs import SILENCE, JobStage, JobState
from manylabel.trainer.records.ledger import Settlement
from manylabel.trainer.runs.checkpoint import list_checkpoints
from tests.integration.nodes._ray_nodes import RayNodes, cannot
from tests.integration.nodes._submitter import Place, Submitter, settings_file, wait_until

OPEN = 15
FOR_LONG = 300  # epochs; no test waits for their end
TRAINED = re.compile(r"train: ([\d,]+) of")

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]


@pytest.fixture
def api(submitter: Submitter, monkeypatch) -> JobsApi:
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(submitter.nodes.token_path))
    return JobsApi(submitter.nodes.address)


@pytest.fixture
def job(submitter: Submitter, clipart_dataset: Dataset, request) -> "Iterator[Job]":
    yield Job(submitter, clipart_dataset, request.node.name.removeprefix("test_")[:20])
    for _, process in submitter.processes("supervisor"):  # of a test that failed
        os.kill(process, signal.SIGKILL)


class Job:
    """A training that goes on for long, by one command each time."""

    def __init__(self, submitter: Submitter, dataset: Dataset, name: str) -> None:
        self.submitter = submitter
        self.run = submitter.folder / "runs" / name
        self.place = Place(self.run, JobStage.TRAIN)
        settings = settings_file(submitter.folder / f"{name}.yaml", epochs=FOR_LONG)
        self.arguments = ["submit", "train", str(settings), "--dataset", str(dataset.root)]
        self.arguments += ["--run", str(self.run), *submitter.address]

    def goes_on(self, after: int) -> None:
        """Submits it anew, and waits until it has saved more."""
        done = self.submitter.run(*self.arguments)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("submitted: "), done.stdout
        assert self.place.wait_for_checkpoint(after) > after

    def assert_each_record_is_counted_once(self) -> None:
        """Of those that were dealt, over all attempts."""
        ledger = self.place.ledger
        undone = sum(end - start for start, end in ledger.undone)
        assert ledger.settled[Settlement.APPLIED] == ledger.next_position - undone


def test_a_job_outlives_whoever_follows_it_and_its_own_process(submitter: Submitter, job: Job):
    followers = [submitter.start(*job.arguments, "--follow") for _ in range(2)]
    for each in followers:
        each.wait_for("attempt 1")
    first, second = sorted(followers, key=lambda each: "already running" in each.printed)
    name = re.match(r"submitted: (\S+-1) on", first.printed)
    assert name, first.printed
    already = f"already running: {name[1]} on {submitter.nodes.address}; following it\n"
    assert second.printed.startswith(already)
    job.place.wait_for_checkpoint()

    # Settings that are not those at work are told apart, and nothing happens.
    other = submitter.run(*job.arguments, "--set", "trainer.epochs=2")
    assert other.returncode == 2
    assert f"a job with other settings is at work there ({name[1]})" in other.stderr
    assert f"error: trainer.epochs: {FOR_LONG}.0 there, 2.0 here\n" in other.stderr

    # Their connection is cut: they wait, and go on.
    with submitter.nodes.out_of_reach():
        for each in (first, second):
            each.wait_for("waiting for the cluster")
    for each in (first, second):
        each.wait_for("the cluster answers again")

    # Ctrl-C ends the following alone.
    before = second.printed
    second.interrupt()
    assert second.end() == 130
    (line,) = second.printed.removeprefix(before).strip().splitlines()
    assert "goes on" in line
    assert f"manylabel stop {job.run}" in line
    assert first.process.poll() is None

    # How it is, by all that ask.
    assert submitter.run("status", str(job.run)).stdout.startswith("train: running, attempt 1\n")
    for listed in (submitter.address, [str(job.run.parent)]):
        assert re.search(r"train +running +1", submitter.run("jobs", *listed).stdout)
    following = submitter.start("logs", str(job.run), "-f")

    # Its process is killed: tried again by itself, from what is saved.
    saved = list_checkpoints(job.run)[-1]
    submitter.signal("command", signal.SIGKILL)
    wait_until(lambda: job.place.attempts[0].ended is not None, first)
    assert "train: waiting, attempt 1: its process" in submitter.run("status", str(job.run)).stdout
    first.wait_for("attempt ended: its process was ended by SIGKILL; tried again in 5 s (1 of 3)")
    assert following.end() == 0
    first.wait_for("attempt 2: manylabel train")
    wait_until(lambda: TRAINED.search(last_attempt(first.printed)) is not None, first)
    assert begun_at(first.printed) >= saved.samples
    job.place.wait_for_checkpoint(saved.step)

    # Told to stop: saved, and said where.
    stopped = submitter.run("stop", str(job.run))
    last = job.place.checkpoints[-1]
    assert stopped.returncode == 0, stopped.stderr
    assert stopped.stdout.splitlines() == [
        "asked to stop; waits for the checkpoint (--now does not)",
        f"stopped: stopped at step {last:,}, saved; the same command goes on from there",
    ]
    assert first.end() == 130
    killed, ended = job.place.attempts
    assert (killed.state, killed.exit_code) == (JobState.FAILED, -signal.SIGKILL)
    assert (ended.state, ended.exit_code, ended.step) == (JobState.STOPPED, 130, last)
    assert job.place.status.state is JobState.STOPPED
    assert submitter.run("status", str(job.run)).returncode == 1
    job.assert_each_record_is_counted_once()

    logs = submitter.run("logs", str(job.run), "--process", "all").stdout
    assert {"==> command.log", "==> worker-0.log", "==> shard-0.log"} <= {*logs.splitlines()}
    assert submitter.run("logs", str(job.run), "--worker", "0").returncode == 0
    no_such = submitter.run("logs", str(job.run), "--worker", "7")
    assert (no_such.returncode, no_such.stderr.count("\n")) == (2, 1)


def test_what_cannot_work_is_refused_before_anything_is_submitted(
    submitter: Submitter, job: Job, api: JobsApi
):
    strange = submitter.folder / "strange"
    strange.mkdir()
    (strange / "sitecustomize.py").write_text(
        "import importlib.metadata as m\n"
        "version = m.version\n"
        "m.version = lambda name: '2.59.0' if name == 'ray' else version(name)\n"
    )
    path = os.pathsep.join(filter(None, (str(strange), os.environ.get("PYTHONPATH"))))
    token = {"RAY_AUTH_TOKEN": "f" * 64}
    without = {k: v for k, v in submitter.environment.items() if not k.startswith("RAY_AUTH")}
    known = {str(each.submission_id) for each in api.jobs()}
    for environment, expected in (
        (without, "error: {}: this command has no token; set RAY_AUTH_TOKEN"),
        (without | token, "error: {}: this command has a token that is not the cluster's; set"),
    ):
        done = submitter.run(*job.arguments, environment=environment)
        assert done.returncode == 2
        (line,) = done.stderr.splitlines()
        assert line.startswith(expected.format(submitter.nodes.address))

    done = submitter.run(
        *(*job.arguments, "--set", "trainer.topology.workers=50"),
        environment={**submitter.environment, "PYTHONPATH": path},
    )
    assert done.returncode == 2
    version, room = done.stderr.splitlines()
    assert "expected Ray 2.59.0 as on this machine, it has" in version
    assert room.startswith("error: expected room for 50 workers with 1 cores")
    now = {str(each.submission_id) for each in api.jobs()}
    assert {name for name in now if not name.startswith(JOB_PREFIX)} <= known
    assert not job.run.exists()


def test_an_error_of_the_user_is_told_and_not_tried_again(submitter: Submitter, job: Job):
    unfinished = submitter.folder / "unfinished"
    unfinished.mkdir()
    done = submitter.run(*job.arguments, "--dataset", str(unfinished), "--follow")
    assert done.returncode == 2
    assert f"error: {unfinished}: no manifest.json" in done.stdout
    assert done.stderr.startswith("error: the job ended with exit code 2; manylabel status")
    (attempt,) = job.place.attempts
    assert (attempt.state, attempt.exit_code) == (JobState.FAILED, 2)
    status = submitter.run("status", str(job.run))
    assert status.returncode == 1
    assert status.stdout.startswith(f"train: failed, attempt 1: {unfinished}: no manifest.json")


def test_ray_job_submit_typed_by_hand_joins_the_cluster_it_is_in(
    submitter: Submitter, clipart_dataset: Dataset
):
    run = submitter.folder / "runs" / "by-hand"
    settings = settings_file(submitter.folder / "by-hand.yaml", epochs=1)
    done = submitter.nodes.run(
        1,
        *("ray", "job", "submit", "--address", submitter.nodes.address, "--"),
        *("manylabel", "train", str(settings), "--dataset", str(clipart_dataset.root)),
        *("--run", str(run)),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    status = Place(run, JobStage.TRAIN).status
    assert status.state is JobState.DONE
    addresses = {submitter.nodes.ip(node) for node in (1, 2, 3)}
    assert {process.node for process in status.processes} <= addresses
    assert submitter.run("status", str(run)).stdout.startswith("train: done\n")


def test_a_job_goes_on_after_each_way_to_end_it(submitter: Submitter, job: Job, api: JobsApi):
    job.goes_on(after=0)
    submitter.signal("supervisor", signal.SIGHUP)  # its terminal is gone
    wait_until(lambda: unfinished(api, "manylabel-train-") is None, "it is not told")
    attempt = job.place.attempts[-1]
    saved = job.place.checkpoints[-1]
    assert (attempt.state, attempt.exit_code, attempt.step) == (JobState.STOPPED, 130, saved)

    job.goes_on(after=saved)
    done = submitter.run("stop", str(job.run), "--now")
    saved = job.place.checkpoints[-1]
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("stopped: "), done.stdout
    assert job.place.attempts[-1].state is JobState.STOPPED
    time.sleep(1)
    assert job.place.checkpoints[-1] == saved

    job.goes_on(after=saved)
    submitter.signal("supervisor", signal.SIGKILL)
    wait_until(lambda: not submitter.processes("command"), "the command outlives its supervisor")
    wait_until(lambda: unfinished(api, "manylabel-train-") is None, "it is not told")
    failed = submitter.run("status", str(job.run))
    why = "train: failed, attempt 3: its supervisor ended with exit code"
    assert (failed.returncode, failed.stdout[: len(why)]) == (1, why)

    saved = job.place.checkpoints[-1]
    job.goes_on(after=saved)
    assert len(job.place.attempts) == 4
    job.assert_each_record_is_counted_once()

    nodes = submitter.nodes
    for node in (1, 2, 3):
        nodes.kill(node)
    saved = job.place.checkpoints[-1]
    status = submitter.run("status", str(job.run)).stdout
    assert status.startswith(f"train: running, attempt 4: {nodes.address}: "), status
    later = datetime.datetime.now(datetime.UTC) + SILENCE
    (lost,) = job_at(job.run, None, later)
    assert lost.view.standing is Standing.LOST
    assert "no update for 2 min, and the cluster does not answer" in str(lost.view.why)
    assert begun_at(submitter.run("logs", str(job.run)).stdout) > 0

    for node in (1, 2, 3):
        nodes.start(node)
    (lost,) = job_at(job.run, None, datetime.datetime.now(datetime.UTC))
    assert lost.view.standing is Standing.LOST
    assert "the cluster does not know it, as after a restart" in str(lost.view.why)
    job.goes_on(after=saved)
    assert len(job.place.attempts) == 5
    job.assert_each_record_is_counted_once()


@pytest.fixture
def open_node(tmp_path: Path) -> Iterator[RayNodes]:
    """A cluster that asks for no token, of a node that has our dependencies and not us."""
    if reason := cannot():
        pytest.skip(reason)
    folder, nothing = Path(f"/tmp/mlt{OPEN}"), tmp_path / "nothing"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    nothing.mkdir()
    with RayNodes(folder, network=OPEN, count=1, token=False) as nodes:
        for entry in map(Path, sys.path):
            if (entry / "manylabel" / "__init__.py").exists():
                place = entry if entry.name == "src" else entry / "manylabel"
                nodes.run(1, "mount", "--bind", str(nothing), str(place), check=True)
        yield nodes
    shutil.rmtree(folder, ignore_errors=True)


def test_an_open_cluster_is_refused_unless_trusted_and_our_code_travels(
    open_node: RayNodes, clipart_dataset: Dataset, tmp_path: Path
):
    submitter = Submitter(open_node, tmp_path)
    run, host = tmp_path / "run", open_node.ip(1)
    settings = settings_file(tmp_path / "settings.yaml", epochs=1)
    arguments = ["submit", "train", str(settings), "--dataset", str(clipart_dataset.root)]
    arguments += ["--run", str(run), *submitter.address, "--follow"]
    refused = submitter.run(*arguments)
    assert refused.returncode == 2
    (line,) = refused.stderr.splitlines()
    assert "asks for no token, so whoever reaches it runs code there" in line
    assert line.endswith(f"or say that you trust it: --trust-open {host}")
    assert submitter.run(*arguments, "--trust-open", "10.0.0.1").returncode == 2
    assert not run.exists()

    missing = open_node.run(1, sys.executable, "-P", "-c", "import manylabel.storage")
    assert "No module named 'manylabel" in missing.stderr
    done = submitter.run(*arguments, "--trust-open", host)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[0].endswith(f"on {open_node.address} with our code")
    (attempt,) = Place(run, JobStage.TRAIN).attempts
    assert (attempt.state, attempt.exit_code) == (JobState.DONE, 0)


def last_attempt(printed: str) -> str:
    """What a job printed since its newest attempt began."""
    return printed.rpartition(": manylabel train ")[2]


def begun_at(printed: str) -> int:
    """Records that were done when the newest attempt began, as its first word of progress says."""
    found = TRAINED.search(last_attempt(printed))
    assert found, printed
    return int(found[1].replace(",", ""))
