"""How a job stands, from its files and from what the cluster says."""

import datetime
from pathlib import Path

import pytest

from manylabel.cluster.errors import ClusterError
from manylabel.cluster.jobs_api import RayJob, RayJobState
from manylabel.pipeline.submission import listing
from manylabel.pipeline.submission.listing import job_at, jobs_below
from manylabel.pipeline.submission.state import (
    JobFiles,
    Standing,
    exit_code_of,
    judge_standing,
    read_job_files,
)
from manylabel.storage.jobs import (
    SILENCE,
    Attempt,
    JobStage,
    JobState,
    JobStatus,
    attempt_path,
    status_path,
)

NOW = datetime.datetime(2026, 5, 4, 12, tzinfo=datetime.UTC)
MINUTE = datetime.timedelta(minutes=1)
GONE = "http://10.0.0.1:8265: no answer within 5 s"


def attempt(state=JobState.RUNNING, number=1, began=10 * MINUTE, **values) -> Attempt:
    if state is not JobState.RUNNING:
        values = {"ended": NOW - MINUTE, "reason": "why", "exit_code": 1} | values
    return Attempt(
        number=number,
        stage=JobStage.TRAIN,
        submission=f"manylabel-train-a-0-{number}",
        address="http://10.0.0.1:8265",
        command=("train",),
        code_version="0",
        host="h",
        started=NOW - began,
        state=state,
        **values,
    )


def status(state=JobState.RUNNING, silent=datetime.timedelta(0), began=10 * MINUTE) -> JobStatus:
    return JobStatus(
        stage=JobStage.TRAIN,
        state=state,
        reason=None if state is JobState.RUNNING else "in its own words",
        started=NOW - began,
        updated=NOW - silent,
        host="h",
        process=1,
        gpu_seconds=7.0,
    )


def files(its_status=None, *attempts) -> JobFiles:
    return JobFiles(Path("run"), JobStage.TRAIN, its_status, attempts)


def ray(state: RayJobState, **values) -> RayJob:
    return RayJob(status=state, submission_id="manylabel-train-a-0-1", **values)


SILENT = SILENCE + MINUTE


@pytest.mark.parametrize(
    ("there", "job", "cluster", "standing", "why"),
    [
        # A command that nobody submitted has its own words alone.
        (files(status()), None, None, Standing.RUNNING, None),
        (files(status(JobState.DONE)), None, None, Standing.DONE, "in its own words"),
        (files(status(JobState.STOPPED)), None, None, Standing.STOPPED, "in its own words"),
        (files(status(silent=SILENT)), None, None, Standing.LOST, "no update for 3 min; the same"),
        # An attempt that ended says so, whatever became of the cluster.
        (files(status(), attempt(JobState.DONE)), None, GONE, Standing.DONE, "why"),
        (files(status(), attempt(JobState.FAILED)), None, None, Standing.FAILED, "why"),
        (
            files(status(), attempt(JobState.FAILED)),
            ray(RayJobState.FAILED, driver_exit_code=2),
            "",
            Standing.FAILED,
            "why",
        ),
        # Unless the cluster has the job still: another attempt is to come.
        (
            files(status(), attempt(JobState.FAILED)),
            ray(RayJobState.RUNNING),
            "",
            Standing.WAITING,
            "why",
        ),
        (files(None, attempt()), ray(RayJobState.RUNNING), "", Standing.STARTING, None),
        (
            files(status(began=20 * MINUTE), attempt()),  # words of an attempt before
            ray(RayJobState.RUNNING),
            "",
            Standing.STARTING,
            None,
        ),
        (files(status(), attempt()), ray(RayJobState.RUNNING), "", Standing.RUNNING, None),
        (
            files(status(silent=SILENT), attempt()),
            ray(RayJobState.RUNNING),
            "",
            Standing.RUNNING,
            "no update for 3 min, though the cluster has it",
        ),
        # Its supervisor is gone, and said nothing.
        (
            files(status(), attempt()),
            ray(RayJobState.FAILED, message="with code -9:\ntrain: 8 of 9", driver_exit_code=-9),
            "",
            Standing.FAILED,
            "its supervisor ended with exit code -9; the same command goes on",
        ),
        (
            files(status(), attempt()),
            ray(RayJobState.FAILED, message="its node was lost\nmore"),
            "",
            Standing.FAILED,
            "its node was lost",
        ),
        (files(status(), attempt()), ray(RayJobState.STOPPED), "", Standing.STOPPED, "it was"),
        # The cluster is gone, or started anew.
        (files(status(), attempt()), None, GONE, Standing.RUNNING, GONE),
        (
            files(status(silent=SILENT), attempt()),
            None,
            GONE,
            Standing.LOST,
            f"no update for 3 min, and the cluster does not answer ({GONE}); the same command",
        ),
        (files(status(), attempt()), None, "", Standing.LOST, "the cluster does not know it"),
        (files(None, attempt()), None, GONE, Standing.LOST, "not a word of it"),
        (files(None, attempt(began=MINUTE)), None, GONE, Standing.STARTING, GONE),
        # The place cannot be seen from here.
        (None, ray(RayJobState.PENDING, message="no room"), "", Standing.WAITING, "no room"),
        (None, ray(RayJobState.RUNNING), "", Standing.RUNNING, None),
        (None, ray(RayJobState.SUCCEEDED), "", Standing.DONE, None),
        (None, ray(RayJobState.FAILED), "", Standing.FAILED, "Ray says no more"),
    ],
)
def test_how_a_job_stands(there, job, cluster, standing, why):
    view = judge_standing(there, job, cluster, NOW)
    assert view.standing is standing
    assert (view.why or "").startswith(why or "")
    assert (view.why is None) == (why is None)


def test_at_the_limit_of_silence_it_may_still_run():
    at_the_limit = files(status(silent=SILENCE), attempt())
    assert judge_standing(at_the_limit, None, GONE, NOW).standing is Standing.RUNNING
    just_after = files(status(silent=SILENCE + datetime.timedelta(microseconds=1)), attempt())
    assert judge_standing(just_after, None, GONE, NOW).standing is Standing.LOST


@pytest.mark.parametrize(
    ("job", "code"),
    [
        (ray(RayJobState.SUCCEEDED), 0),
        (ray(RayJobState.STOPPED), 130),
        (ray(RayJobState.FAILED, driver_exit_code=2), 2),
        (ray(RayJobState.FAILED, driver_exit_code=137), 137),
        (ray(RayJobState.FAILED), 75),  # its node was lost
    ],
)
def test_the_exit_code_is_the_commands(job, code):
    assert exit_code_of(job) == code


def test_gpu_seconds_are_those_of_all_attempts():
    ended = attempt(JobState.FAILED, gpu_seconds=5.0)
    assert files(status(), ended, attempt(number=2)).gpu_seconds == 12.0
    assert files(status(), ended).gpu_seconds == 5.0, "its status is the attempt's"
    assert files(status()).gpu_seconds == 7.0


def test_a_damaged_record_hides_nothing_else(tmp_path):
    attempt().write(attempt_path(tmp_path, JobStage.TRAIN, 1))
    status_path(tmp_path, JobStage.TRAIN).write_text("{")
    attempt_path(tmp_path, JobStage.TRAIN, 2).write_text("{}")
    (found,) = read_job_files(tmp_path)
    assert [each.number for each in found.attempts] == [1]
    assert "0002.json" in str(found.problem)


class Asked:
    """A cluster that has the job at work, or does not answer."""

    problem = ""
    asked = 0

    def __init__(self, address: str) -> None:
        assert address == "http://10.0.0.1:8265"

    def job(self, submission_id: str) -> RayJob:
        Asked.asked += 1
        if self.problem:
            raise ClusterError(self.problem)
        return ray(RayJobState.RUNNING)


@pytest.mark.parametrize(
    ("last", "asked", "standing"),
    [
        (attempt(), 1, Standing.STARTING),
        (attempt(JobState.FAILED), 1, Standing.WAITING),
        (attempt(JobState.FAILED, ended=NOW - 10 * MINUTE), 0, Standing.FAILED),
        (attempt(JobState.DONE), 0, Standing.DONE),
    ],
)
def test_the_cluster_is_asked_while_more_may_come(tmp_path, monkeypatch, last, asked, standing):
    monkeypatch.setattr(listing, "JobsApi", Asked)
    monkeypatch.setattr(Asked, "asked", 0)
    last.write(attempt_path(tmp_path, JobStage.TRAIN, 1))
    (job,) = job_at(tmp_path, None, NOW)
    assert job.view.standing is standing
    assert Asked.asked == asked


def test_an_attempt_that_failed_has_failed_though_the_cluster_is_gone(tmp_path, monkeypatch):
    monkeypatch.setattr(listing, "JobsApi", Asked)
    monkeypatch.setattr(Asked, "problem", GONE)
    attempt(JobState.FAILED).write(attempt_path(tmp_path, JobStage.TRAIN, 1))
    (job,) = job_at(tmp_path, None, NOW)
    assert job.view.standing is Standing.FAILED
    assert job.view.why == "why"


def test_jobs_of_a_folder_are_those_of_its_runs_newest_last(tmp_path):
    done = attempt(JobState.DONE)
    done.write(attempt_path(tmp_path / "late", JobStage.TRAIN, 1))
    early = attempt(JobState.DONE, began=60 * MINUTE)
    early.write(attempt_path(tmp_path / "early", JobStage.TRAIN, 1))
    status(JobState.DONE, began=5 * MINUTE).write(status_path(tmp_path / "local", JobStage.TRAIN))
    (tmp_path / "other").mkdir()
    listed = jobs_below(tmp_path, NOW)
    assert [Path(job.place).name for job in listed] == ["early", "late", "local"]
    assert [job.attempt for job in listed] == [1, 1, 0]


def test_a_command_after_a_submission_speaks_for_itself():
    """A job was stopped, and the user went on with the local command."""
    stopped = attempt(JobState.STOPPED, ended=NOW - 20 * MINUTE, gpu_seconds=5.0)
    there = files(status(), stopped)
    assert judge_standing(there, None, None, NOW).standing is Standing.RUNNING
    assert there.gpu_seconds == 12


def test_an_attempt_that_begins_holds_nothing_of_the_one_before():
    first = attempt(JobState.FAILED, began=30 * MINUTE, ended=NOW - 5 * MINUTE, gpu_seconds=5.0)
    there = files(status(), first, attempt(number=2, began=MINUTE))
    assert there.gpu_seconds == 5


def test_an_attempt_that_was_refused_does_not_hide_the_job_at_work():
    refused = attempt(JobState.FAILED, number=2, began=5 * MINUTE, ended=NOW - 4 * MINUTE)
    there = files(status(), attempt(), refused)
    assert judge_standing(there, None, None, NOW).standing is Standing.RUNNING


def test_a_word_of_tomorrow_is_none():
    there = files(status(silent=-24 * 60 * MINUTE), attempt())
    assert judge_standing(there, None, GONE, NOW).standing is Standing.LOST
