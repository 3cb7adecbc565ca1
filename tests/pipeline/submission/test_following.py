"""Following a job whose cluster comes and goes, and stopping it."""

import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from manylabel.cluster.errors import ClusterError
from manylabel.cluster.jobs_api import RayJob, RayJobState
from manylabel.pipeline.errors import CommandError, Interrupted
from manylabel.pipeline.submission import following
from manylabel.pipeline.submission.following import follow, job_of, log_files, read_log, stop
from manylabel.pipeline.submission.state import Standing
from manylabel.storage.errors import Transient
from manylabel.storage.jobs import (
    Attempt,
    JobStage,
    JobState,
    attempt_path,
    logs_path,
    stop_now_path,
)

NAME = "manylabel-train-run-0-1"
GONE = ClusterError("http://head:8265: no answer within 5 s")
RUNNING, PENDING = RayJob(status=RayJobState.RUNNING), RayJob(status=RayJobState.PENDING)


def failed(code: int | None) -> RayJob:
    return RayJob(status=RayJobState.FAILED, driver_exit_code=code)


class Cluster:
    """Answers as it is told: of each pair the job, and its log so far."""

    def __init__(self, *answers) -> None:
        self.answers = list(answers)
        self.stopped: list[str] = []
        self._log: object = ""

    def job(self, submission_id: str):
        assert submission_id == NAME
        job, self._log = self.answers.pop(0)
        if isinstance(job, BaseException):
            raise job
        return job

    def logs(self, submission_id: str) -> str:
        log = self.answers[0][1] if self.answers else self._log
        if isinstance(log, BaseException):
            raise log
        return str(log)

    def stop(self, submission_id: str) -> None:
        self.stopped.append(submission_id)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(following, "time", clock)
    return clock


def followed(cluster, place=Path("/run")) -> tuple[int, list[str]]:
    shown: list[str] = []
    code = follow(cluster, place, JobStage.TRAIN, NAME, shown.append)
    return code, shown


def test_each_line_is_shown_once_and_the_exit_code_is_the_jobs(clock):
    cluster = Cluster(
        (PENDING, ""), (RUNNING, "a\nb"), (RUNNING, "a\nbc\n"), (failed(2), "a\nbc\nd\n")
    )
    assert followed(cluster) == (2, ["a", "bc", "d"])


def test_the_end_of_the_log_is_not_the_jobs_end(clock):
    cluster = Cluster(
        (RUNNING, "a\n"),
        (RUNNING, GONE),  # its node does not answer
        (RUNNING, ""),  # nor does it have the log
        (RUNNING, "a\nb\n"),
        (RayJob(status=RayJobState.SUCCEEDED), "a\nb\n"),
    )
    assert followed(cluster) == (0, ["a", "b"])


def test_a_cut_connection_is_told_once_and_following_goes_on(clock):
    cluster = Cluster(
        (RUNNING, "a\n"),
        (GONE, GONE),
        (GONE, GONE),
        (RUNNING, "a\nb\n"),
        (failed(130), "a\nb\nc\n"),
    )
    code, shown = followed(cluster)
    assert code == 130
    waits, answers = f"waiting for the cluster: {GONE}", "the cluster answers again"
    assert [line for line in shown if line in (waits, answers)] == [waits, answers]
    assert [line for line in shown if line not in (waits, answers)] == ["a", "b", "c"]


def test_a_cluster_that_stays_away_may_be_tried_another_time(clock):
    cluster = Cluster(*[(GONE, GONE)] * 1000)
    with pytest.raises(CommandError, match="may be at work all the same: manylabel status") as info:
        followed(cluster)
    assert isinstance(info.value, Transient)
    assert 600 < clock.now < 610


def test_a_cluster_that_was_started_anew_does_not_know_the_job(clock, tmp_path):
    write(tmp_path)
    with pytest.raises(CommandError, match=f"{NAME}: the cluster does not know it") as info:
        followed(Cluster((GONE, GONE), (None, GONE)), tmp_path)
    assert isinstance(info.value, Transient)


def test_ctrl_c_says_that_the_job_goes_on(clock):
    cluster = Cluster((RUNNING, "a\n"), (KeyboardInterrupt(), ""))
    with pytest.raises(Interrupted, match=r"the job goes on; .*logs /run -f .*stop /run stops it"):
        followed(cluster)
    assert cluster.stopped == []


def write(place: Path, state=JobState.RUNNING, number=1) -> None:
    now = datetime.datetime.now(datetime.UTC)
    Attempt(
        number=number,
        stage=JobStage.TRAIN,
        submission=NAME,
        address="http://head:8265",
        command=("train",),
        code_version="0",
        host="h",
        started=now,
        state=state,
        ended=None if state is JobState.RUNNING else now,
        reason=None if state is JobState.RUNNING else "stopped at step 3, saved",
    ).write(attempt_path(place, JobStage.TRAIN, number))


def test_stop_waits_until_it_has_saved(clock, tmp_path):
    write(tmp_path)
    cluster: Any = Cluster((RUNNING, ""), (RUNNING, ""), (failed(130), ""))
    sleep = clock.sleep

    def saves(seconds: float) -> None:
        write(tmp_path, JobState.STOPPED)
        sleep(seconds)

    clock.sleep = saves
    shown: list[str] = []
    view = stop(tmp_path, None, cluster, now=False, show=shown.append)
    assert (view.standing, view.why) == (Standing.STOPPED, "stopped at step 3, saved")
    assert cluster.stopped == [NAME]
    assert shown == ["asked to stop; waits for the checkpoint (--now does not)"]
    assert not stop_now_path(tmp_path, JobStage.TRAIN).exists()


def test_stop_now_leaves_the_word_for_it(clock, tmp_path):
    write(tmp_path)
    cluster: Any = Cluster((RUNNING, ""), (failed(137), ""))
    shown: list[str] = []
    stop(tmp_path, None, cluster, now=True, show=shown.append)
    assert stop_now_path(tmp_path, JobStage.TRAIN).exists()
    assert (cluster.stopped, shown) == ([NAME], [])


@pytest.mark.parametrize("answer", [None, failed(2)])
def test_nothing_is_stopped_that_is_not_at_work(clock, tmp_path, answer):
    write(tmp_path)
    cluster: Any = Cluster((answer, ""))
    with pytest.raises(CommandError, match="no train is at work"):
        stop(tmp_path, None, cluster, now=False, show=print)
    assert cluster.stopped == []


def test_a_place_without_a_job_is_told(tmp_path):
    with pytest.raises(CommandError, match="found no job there; manylabel jobs lists them"):
        job_of(tmp_path, None)
    write(tmp_path)
    with pytest.raises(CommandError, match="found no job of export"):
        job_of(tmp_path, JobStage.EXPORT)
    with pytest.raises(CommandError, match="there are attempts 1 to 1"):
        log_files(tmp_path, JobStage.TRAIN, 2)


def test_a_log_is_read_until_its_attempt_ends(tmp_path, monkeypatch):
    write(tmp_path)
    logs = logs_path(tmp_path, JobStage.TRAIN, 1)
    logs.mkdir()
    for name in ("worker-0", "actor", "command"):
        (logs / f"{name}.log").write_text(f"{name}\n")
    number, found = log_files(tmp_path, JobStage.TRAIN, None)
    assert (number, [path.stem for path in found]) == (1, ["command", "actor", "worker-0"])

    def more(seconds: float) -> None:
        with found[0].open("a") as file:
            file.write("more\n")
        write(tmp_path, JobState.DONE)

    monkeypatch.setattr(following, "time", SimpleNamespace(sleep=more))
    lines = read_log(tmp_path, JobStage.TRAIN, 1, found[0], is_followed=True)
    assert [*lines] == ["command\n", "more\n"]
