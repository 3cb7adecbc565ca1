"""The entrypoint of a job, with a stand-in for the command that it carries out."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from manylabel.storage.jobs import (
    Attempt,
    JobStage,
    JobState,
    attempt_numbers,
    attempt_path,
    logs_path,
    stop_now_path,
)
from tests.integration._processes import descendants, is_running

pytestmark = pytest.mark.slow

# In front of what is installed, as code that came along; ends as a line of `exits` says.
COMMAND = """
import os, signal, sys, time
place = sys.argv[-1]
number = sum(1 for name in os.listdir(place + "/jobs/train") if name.endswith(".json"))
end = open("exits").read().split()[number - 1]
print(f"begins in {os.getcwd()}", flush=True)
if end == "waits":
    def told(*_):
        print("stopped at step 3, saved", flush=True)
        os._exit(130)
    for each in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, told)
    time.sleep(60)
if end == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
print(f"error: it ended with {end}", file=sys.stderr, flush=True)
sys.exit(int(end))
"""
SUPERVISE = """
import sys
from pathlib import Path
from manylabel.pipeline.submission import attempts
from manylabel.pipeline.submission.supervise import supervise
attempts._FIRST_WAIT_SECONDS = 0.01
sys.exit(supervise(Path(sys.argv[1])))
"""


class Supervised:
    """A job's folder and its place."""

    def __init__(self, folder: Path, make_request) -> None:
        self.folder, self.place = folder / "job", folder / "run"
        package = self.folder / "manylabel"
        package.mkdir(parents=True)
        (package / "__init__.py").touch()
        (package / "__main__.py").write_text(COMMAND)
        request = make_request(
            place=str(self.place), arguments=("train", "settings.yaml", str(self.place)), retries=2
        )
        request.write(self.folder / "job.json")

    def start(self, *exits: str) -> "subprocess.Popen[str]":
        (self.folder / "exits").write_text("\n".join(exits))
        job = {"metadata": {"job_submission_id": "manylabel-train-run-0-1"}}
        return subprocess.Popen(
            [sys.executable, "-P", "-c", SUPERVISE, str(self.folder)],
            env={**os.environ, "RAY_JOB_CONFIG_JSON_ENV_VAR": json.dumps(job)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *exits: str) -> tuple[int, str]:
        """The exit code, and what was printed."""
        process = self.start(*exits)
        printed, _ = process.communicate(timeout=60)
        return process.returncode, printed

    def wait_until_it_waits(self) -> None:
        deadline = time.monotonic() + 30
        while "begins" not in self.log(1):
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def log(self, number: int) -> str:
        path = logs_path(self.place, JobStage.TRAIN, number) / "command.log"
        return path.read_text() if path.exists() else ""

    @property
    def attempts(self) -> list[Attempt]:
        numbers = attempt_numbers(self.place, JobStage.TRAIN)
        return [Attempt.read(attempt_path(self.place, JobStage.TRAIN, each)) for each in numbers]

    @property
    def codes(self) -> list[int | None]:
        return [each.exit_code for each in self.attempts]


@pytest.fixture
def job(tmp_path, make_request) -> Supervised:
    return Supervised(tmp_path, make_request)


def test_a_job_that_ends_well_leaves_its_record_and_its_log(job):
    code, printed = job.run("0")
    assert code == 0
    (attempt,) = job.attempts
    assert (attempt.state, attempt.exit_code, attempt.reason) == (JobState.DONE, 0, "done")
    assert attempt.submission == "manylabel-train-run-0-1"
    assert attempt.ended is not None
    assert attempt.ended >= attempt.started
    assert f"begins in {job.folder}" in job.log(1), "settings.yaml is there"
    assert job.log(1) in printed, "and Ray has it too"


@pytest.mark.parametrize(("code", "why"), [("2", "it ended with 2"), ("1", "it ended with 1")])
def test_what_is_to_be_mended_is_not_tried_again(job, code, why):
    assert job.run(code, "0")[0] == int(code)
    (attempt,) = job.attempts
    assert (attempt.state, attempt.exit_code, attempt.reason) == (JobState.FAILED, int(code), why)


def test_what_was_lost_is_tried_again(job):
    code, printed = job.run("75", "killed", "0")
    assert code == 0
    assert job.codes == [75, -signal.SIGKILL, 0]
    assert "attempt ended: it ended with 75; tried again in 0.01 s (1 of 2)" in printed
    assert "attempt 3: manylabel train settings.yaml" in printed


def test_tries_end(job):
    code, _ = job.run("75", "75", "killed", "0")
    assert code == 128 + signal.SIGKILL
    assert job.codes == [75, 75, -signal.SIGKILL]
    assert job.attempts[-1].reason == "its process was ended by SIGKILL; given up after 2 retries"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGINT])
def test_every_signal_to_stop_lets_the_command_save(job, number):
    process = job.start("waits", "0")
    job.wait_until_it_waits()
    process.send_signal(number)
    process.communicate(timeout=20)
    assert process.returncode == 130
    (attempt,) = job.attempts
    assert (attempt.state, attempt.reason) == (JobState.STOPPED, "stopped at step 3, saved")


def test_stop_now_kills_and_is_not_tried_again(job):
    stop_now_path(job.place, JobStage.TRAIN).parent.mkdir(parents=True)
    stop_now_path(job.place, JobStage.TRAIN).touch()  # left by one before
    process = job.start("waits", "0")
    job.wait_until_it_waits()
    stop_now_path(job.place, JobStage.TRAIN).touch()
    process.communicate(timeout=20)
    assert process.returncode == 128 + signal.SIGKILL
    (attempt,) = job.attempts
    assert (attempt.state, attempt.exit_code) == (JobState.STOPPED, -signal.SIGKILL)
    assert "saved" not in job.log(1)


def test_the_command_ends_with_its_supervisor(job):
    process = job.start("waits")
    job.wait_until_it_waits()
    children = descendants(process.pid)
    process.kill()
    process.communicate(timeout=20)  # the command had the pipe, too
    (child,) = children
    deadline = time.monotonic() + 20
    while is_running(child) and time.monotonic() < deadline:
        time.sleep(0.05)  # the pipe closes a moment before the process is gone
    assert not is_running(child)
    (attempt,) = job.attempts
    assert (attempt.state, attempt.ended) == (JobState.RUNNING, None), "nobody could tell"


def test_attempts_are_counted_over_all_submissions(job):
    job.run("2")
    job.run("2", "0")
    assert job.codes == [2, 0]
    assert [each.number for each in job.attempts] == [1, 2]
