"""Stopping the job of a place, whatever its records know of it."""

import datetime
from typing import Any

import pytest

from manylabel.cluster.jobs_api import RayJob, RayJobState
from manylabel.pipeline.errors import CommandError
from manylabel.pipeline.submission import stopping
from manylabel.pipeline.submission.request import submission_prefix
from manylabel.pipeline.submission.state import Standing
from manylabel.storage.jobs import (
    Attempt,
    JobStage,
    JobState,
    JobStatus,
    attempt_path,
    status_path,
    stop_now_path,
)

ADDRESS = "http://head:8265"


def write(place, stage=JobStage.TRAIN, state=JobState.RUNNING, address=ADDRESS) -> None:
    now = datetime.datetime.now(datetime.UTC)
    Attempt(
        number=1,
        stage=stage,
        submission=f"{submission_prefix(stage, str(place))}1",
        address=address,
        command=("train",),
        code_version="0",
        host="h",
        started=now,
        state=state,
        ended=None if state is JobState.RUNNING else now,
        reason=None if state is JobState.RUNNING else "stopped at step 3, saved",
    ).write(attempt_path(place, stage, 1))


class Cluster:
    """Whose jobs end some polls after they were told to stop; `on_end` is called then."""

    def __init__(self, place, stages=(), on_end=lambda: None, polls=2) -> None:
        self._ids = [f"{submission_prefix(stage, str(place))}1" for stage in stages]
        self._on_end, self._polls = on_end, polls
        self.addresses: list[str] = []
        self.stopped: list[str] = []

    def connect(self, address: str) -> Any:
        self.addresses.append(address)
        return self

    def jobs(self) -> list[RayJob]:
        return [RayJob(submission_id=name, status=RayJobState.RUNNING) for name in self._ids]

    def stop(self, submission_id: str) -> None:
        self.stopped.append(submission_id)

    def job(self, submission_id: str) -> RayJob:
        self._polls -= 1
        if self._polls > 0:
            return RayJob(status=RayJobState.RUNNING)
        self._on_end()
        return RayJob(status=RayJobState.STOPPED)


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr(stopping.time, "sleep", lambda seconds: None)


def stop(place, cluster, stage=None, address=None, now=False):
    shown: list[str] = []
    view = stopping.stop(place, stage, address, now=now, show=shown.append, connect=cluster.connect)
    return view, shown


def test_it_waits_until_the_job_has_saved(tmp_path):
    write(tmp_path)
    end = lambda: write(tmp_path, state=JobState.STOPPED)  # noqa: E731
    cluster = Cluster(tmp_path, [JobStage.TRAIN], end)
    view, shown = stop(tmp_path, cluster)
    assert (view.standing, view.why) == (Standing.STOPPED, "stopped at step 3, saved")
    assert cluster.stopped == [f"{submission_prefix(JobStage.TRAIN, str(tmp_path))}1"]
    assert shown == ["asked to stop; waits for the checkpoint (--now does not)"]
    assert not stop_now_path(tmp_path, JobStage.TRAIN).exists()


def test_now_leaves_the_word_for_the_supervisor(tmp_path):
    write(tmp_path)
    cluster = Cluster(tmp_path, [JobStage.TRAIN])
    _, shown = stop(tmp_path, cluster, now=True)
    assert stop_now_path(tmp_path, JobStage.TRAIN).exists()
    assert len(cluster.stopped) == 1
    assert shown == []


def test_the_one_at_work_is_stopped_not_the_one_heard_of_last(tmp_path):
    write(tmp_path)
    write(tmp_path, JobStage.EVALUATE, JobState.STOPPED)
    cluster = Cluster(tmp_path, [JobStage.TRAIN])
    stop(tmp_path, cluster)
    assert cluster.stopped == [f"{submission_prefix(JobStage.TRAIN, str(tmp_path))}1"]


def test_of_several_the_user_says_which(tmp_path):
    write(tmp_path)
    cluster = Cluster(tmp_path, [JobStage.TRAIN, JobStage.EVALUATE])
    with pytest.raises(CommandError, match="say which: --stage train, --stage evaluate"):
        stop(tmp_path, cluster)
    stop(tmp_path, cluster, JobStage.EVALUATE)
    assert cluster.stopped == [f"{submission_prefix(JobStage.EVALUATE, str(tmp_path))}1"]


def test_a_job_that_waits_for_room_has_no_record_yet_and_is_stopped_by_address(tmp_path):
    cluster = Cluster(tmp_path, [JobStage.EVALUATE])
    with pytest.raises(CommandError, match="found no job there"):
        stop(tmp_path, cluster)
    stop(tmp_path, cluster, address=ADDRESS)
    assert (cluster.addresses, len(cluster.stopped)) == ([ADDRESS], 1)


@pytest.mark.parametrize(
    ("state", "address", "message"),
    [
        (JobState.STOPPED, ADDRESS, r"no train is at work \(stopped at step 3, saved\)"),
        (JobState.RUNNING, "", "submitted to Kubernetes; `kubectl delete rayjob manylabel-train"),
    ],
)
def test_what_is_not_at_work_is_told(tmp_path, state, address, message):
    write(tmp_path, state=state, address=address)
    cluster = Cluster(tmp_path)
    with pytest.raises(CommandError, match=message):
        stop(tmp_path, cluster)
    assert cluster.stopped == []


def test_a_command_that_was_not_submitted_is_stopped_where_it_runs(tmp_path):
    now = datetime.datetime.now(datetime.UTC)
    JobStatus(
        stage=JobStage.TRAIN,
        state=JobState.RUNNING,
        started=now,
        updated=now,
        host="box",
        process=77,
    ).write(status_path(tmp_path, JobStage.TRAIN))
    with pytest.raises(CommandError, match=r"was not submitted; .* process 77 on box"):
        stop(tmp_path, Cluster(tmp_path))


def test_now_before_the_command_has_begun_makes_its_own_folder(tmp_path):
    cluster = Cluster(tmp_path, [JobStage.TRAIN])
    stop(tmp_path, cluster, address=ADDRESS, now=True)
    assert stop_now_path(tmp_path, JobStage.TRAIN).exists()
    assert len(cluster.stopped) == 1


def test_now_where_the_folder_cannot_be_written_stops_all_the_same(tmp_path):
    place = tmp_path / "file"
    place.write_text("no folder")
    cluster = Cluster(place, [JobStage.TRAIN])
    _, shown = stop(place, cluster, address=ADDRESS, now=True)
    assert len(cluster.stopped) == 1
    assert "so it saves before it ends" in shown[0]
