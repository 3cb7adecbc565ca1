"""How a job is, from its own files and from what the cluster says of it: never from a log."""

import datetime
import os
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from manylabel.cluster.errors import ClusterError
from manylabel.cluster.jobs_api import JobsApi, RayJob, RayJobState
from manylabel.storage.errors import DocumentError
from manylabel.storage.jobs import (
    SILENCE,
    Attempt,
    JobStage,
    JobState,
    JobStatus,
    attempt_numbers,
    attempt_path,
    current_attempt,
    gpu_seconds,
    is_starting,
    status_path,
)


class Standing(StrEnum):
    """How a job stands."""

    WAITING = "waiting"
    STARTING = "starting"
    RUNNING = "running"
    DONE = "done"
    STOPPED = "stopped"
    FAILED = "failed"
    LOST = "lost"

    @property
    def is_over(self) -> bool:
        """Whether nothing more comes by itself."""
        return self not in (Standing.WAITING, Standing.STARTING, Standing.RUNNING)


@dataclass(frozen=True)
class JobFiles:
    """What a place says of one stage.

    Attributes:
        attempts: oldest first; none for a command that was not submitted.
        problem: why some of it could not be read.
    """

    place: Path
    stage: JobStage
    status: JobStatus | None
    attempts: tuple[Attempt, ...]
    problem: str | None = None

    @property
    def gpu_seconds(self) -> float:
        """Of all attempts, that which is under way included."""
        return gpu_seconds(self.status, self.attempts)

    @property
    def newest(self) -> Attempt | None:
        """Attempt; None for a command that was never submitted."""
        return self.attempts[-1] if self.attempts else None

    @property
    def word(self) -> JobStatus | None:
        """What the job says of itself; None while its newest attempt has said nothing."""
        return None if is_starting(self.status, self.newest) else self.status

    @property
    def last_heard(self) -> datetime.datetime:
        """The newest word of any of it."""
        words = [each.ended or each.started for each in self.attempts]
        words += [self.status.updated] if self.status else []
        return max(words, default=datetime.datetime.min.replace(tzinfo=datetime.UTC))


@dataclass(frozen=True)
class View:
    """How a job stands, and why."""

    standing: Standing
    why: str | None = None


def read_job_files(place: Path) -> list[JobFiles]:
    """Of each stage that left any, the one heard of last at the end."""
    found = [_files(place, stage) for stage in JobStage]
    return sorted(
        (each for each in found if each.status or each.attempts or each.problem),
        key=lambda each: each.last_heard,
    )


def judge_standing(
    files: JobFiles | None, job: RayJob | None, cluster: str | None, now: datetime.datetime
) -> View:
    """How a job stands.

    Args:
        files: of its place; None where that cannot be seen.
        job: as the cluster knows it; None if it does not, or was not asked.
        cluster: why it could not be asked; "" if it was, None if there is none to ask.
    """
    if files is not None and (ended := _ended(files, job)):
        return ended
    if job is not None:
        return _of_cluster(files, job, now)
    status = files.word if files else None
    silent = status.silence(now) if status else None
    problem = files.problem if files else None
    again = "the same command goes on from what is saved"
    if cluster == "":
        return View(Standing.LOST, f"the cluster does not know it, as after a restart; {again}")
    if silent is not None:
        minutes = int(silent.total_seconds() // 60)
        asked = f", and the cluster does not answer ({cluster})" if cluster else ""
        return View(Standing.LOST, f"no update for {minutes} min{asked}; {again}")
    if files is not None and status is None and now - files.last_heard > SILENCE:
        why = "; ".join(filter(None, (problem, cluster, again)))
        return View(Standing.LOST, why if problem else f"not a word of it; {why}")
    if status is None:
        return View(Standing.STARTING, problem or cluster or None)
    return View(Standing.RUNNING, problem or cluster or None)


def ask_cluster(api: JobsApi, submission: str) -> tuple[RayJob | None, str]:
    """A job as the cluster knows it, and why it could not be asked, "" if it could."""
    try:
        return api.job(submission), ""
    except ClusterError as error:
        return None, str(error)


def exit_code_of(job: RayJob) -> int:
    """What the job's command would have exited with here."""
    if job.status is RayJobState.SUCCEEDED:
        return 0
    if job.status is RayJobState.STOPPED:
        return 130
    # None: its node was lost; negative: the entrypoint was killed, and the command with it.
    lost = job.driver_exit_code is None or job.driver_exit_code < 0
    return os.EX_TEMPFAIL if lost else job.driver_exit_code or 0


def _ended(files: JobFiles, job: RayJob | None) -> View | None:
    """What the files say, where they are sure."""
    attempt = current_attempt(files.status, files.newest)
    if attempt is None:  # A command on this machine or another, not submitted.
        status = files.status
        if status is None or status.state is JobState.RUNNING:
            return None
        return View(Standing(status.state), status.reason)
    if attempt.ended is None or (job is not None and not job.status.is_final):
        return None
    return View(Standing(attempt.state), attempt.reason)


def _of_cluster(files: JobFiles | None, job: RayJob, now: datetime.datetime) -> View:
    match job.status:
        case RayJobState.PENDING:
            return View(Standing.WAITING, job.message)
        case RayJobState.SUCCEEDED:
            return View(Standing.DONE)
        case RayJobState.STOPPED:
            return View(Standing.STOPPED, "it was stopped before it could say more")
        case RayJobState.FAILED:
            return View(Standing.FAILED, _untold_failure(job))
    attempt = files.attempts[-1] if files and files.attempts else None
    if attempt is not None and attempt.ended is not None:
        return View(Standing.WAITING, attempt.reason)  # for the next attempt
    status = files.word if files else None
    if files is None:
        return View(Standing.RUNNING)  # its folder is not seen from here, or empty yet
    if status is None:
        return View(Standing.STARTING)
    if (silent := status.silence(now)) is not None:
        minutes = int(silent.total_seconds() // 60)
        return View(Standing.RUNNING, f"no update for {minutes} min, though the cluster has it")
    return View(Standing.RUNNING)


def _untold_failure(job: RayJob) -> str:
    """Why a job failed that could not write it down itself."""
    if job.driver_exit_code is not None:  # Ray's message ends with what was printed before.
        return (
            f"its supervisor ended with exit code {job.driver_exit_code}; the same command goes on "
            "from what is saved"
        )
    lines = (job.message or "").strip().splitlines()
    return lines[0] if lines else "Ray says no more"


def _files(place: Path, stage: JobStage) -> JobFiles:
    problem = None
    status = None
    attempts: list[Attempt] = []
    try:
        status = JobStatus.read(status_path(place, stage))
    except (FileNotFoundError, NotADirectoryError):
        pass
    except (OSError, DocumentError) as error:
        problem = str(error)
    for number in attempt_numbers(place, stage):
        try:
            attempts.append(Attempt.read(attempt_path(place, stage, number)))
        except (OSError, DocumentError) as error:
            problem = str(error)
    return JobFiles(place, stage, status, tuple(attempts), problem)
