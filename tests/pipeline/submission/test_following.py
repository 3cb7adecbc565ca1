"""Following a job whose cluster comes and goes."""

import datetime
from pathlib import Path
from types import SimpleNamespace

import pytest

from manylabel.cluster.errors import ClusterError
from manylabel.cluster.jobs_api import RayJob, RayJobState
from manylabel.pipeline.errors import CommandError, Interrupted
from manylabel.pipeline.submission import following
from manylabel.pipeline.submission.following import follow, job_of, log_files, read_log
from manylabel.storage.errors import Transient
from manylabel.storage.jobs import (
    Attempt,
    JobStage,
    JobState,
    attempt_path,
    logs_path,
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
    with pytest.raises(Interrupted, match=r"logs /run --stage train -f .*stop /run --stage"):
        followed(cluster)


def write(place: Path, state=JobState.RUNNING, number=1, exit_code=None) -> None:
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
        exit_code=exit_code,
        ended=None if state is JobState.RUNNING else now,
        reason=None if state is JobState.RUNNING else "stopped at step 3, saved",
    ).write(attempt_path(place, JobStage.TRAIN, number))


def test_a_place_without_a_job_is_told(tmp_path):
    for place in (tmp_path / "run", tmp_path):
        found = f"found no job there; manylabel jobs {place.parent} lists them"
        with pytest.raises(CommandError, match=found):
            job_of(place, None)
    (tmp_path / "run" / "jobs").mkdir(parents=True)
    with pytest.raises(CommandError, match=f"manylabel jobs {tmp_path} lists them"):
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


def test_what_a_job_prints_is_read_from_its_file_where_that_is_seen(clock, tmp_path):
    write(tmp_path)
    logs = logs_path(tmp_path, JobStage.TRAIN, 1)
    logs.mkdir()
    (logs / "command.log").write_bytes(b"one\n\xff and no end")
    code, shown = followed(Cluster((RUNNING, GONE), (failed(2), GONE)), tmp_path)
    assert (code, shown) == (2, ["attempt 1: manylabel train", "one", "\ufffd and no end"])


def test_a_job_that_ended_before_its_cluster_has_its_exit_code(clock, tmp_path):
    write(tmp_path, JobState.STOPPED, exit_code=130)
    assert followed(Cluster((None, "")), tmp_path)[0] == 130


def test_what_ray_says_is_told_where_no_attempt_began(clock, tmp_path):
    job = RayJob(status=RayJobState.FAILED, message="Runtime env\nno such file: python")
    code, shown = followed(Cluster((PENDING, ""), (job, "")), tmp_path)
    assert (code, shown) == (75, ["no such file: python"])


def test_why_an_attempt_ended_is_told_once_before_the_next(clock, tmp_path):
    write(tmp_path, JobState.FAILED)
    write(tmp_path, number=2)
    cluster = Cluster((RUNNING, ""), (RUNNING, ""), (failed(2), ""))
    _, shown = followed(cluster, tmp_path)
    assert shown == [
        "attempt 1: manylabel train",
        "attempt ended: stopped at step 3, saved",
        "attempt 2: manylabel train",
    ]
