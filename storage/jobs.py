"""What a job leaves in its place, for whoever asks how it is: a run's directory, or a dataset's.

jobs/STAGE/status.json       how it is, written every few seconds while it lives
jobs/STAGE/0001.json         its first attempt on a cluster
jobs/STAGE/0001/*.log        what each process of that attempt printed
jobs/STAGE/logs/*.log        the same of commands that were not submitted, with --verbose
"""

import datetime
import os
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict

from manylabel.storage.documents import Document
from manylabel.storage.errors import DocumentError

DIRECTORY = "jobs"
COMMAND_LOG = "command.log"
"""Of an attempt's logs: what the command itself printed."""

LOGS_VARIABLE = "MANYLABEL_JOB_LOGS"
"""Environment variable: the folder that processes of the job print to, each to a file."""

SILENCE = datetime.timedelta(minutes=2)
"""Without a word from a job, after which nobody can say that it still runs. Many times the seconds
between two words; long enough for storage that is slow for a while."""


class JobStage(StrEnum):
    """The command that a job carries out."""

    PREPROCESS = "preprocess"
    TRAIN = "train"
    EVALUATE = "evaluate"
    EXPORT = "export"


class JobState(StrEnum):
    """How a job is.

    RUNNING: at work, if it is heard of. DONE: it ended well. STOPPED: told to, and can go on.
    FAILED: it ended, and its reason says why.
    """

    RUNNING = "running"
    DONE = "done"
    STOPPED = "stopped"
    FAILED = "failed"


class ProcessPlace(BaseModel):
    """A process of a job, or all processes of one kind on a node.

    Attributes:
        name: as in Ray's own tools, without the run: worker-3, shard-0, coordinator.
        node: the node's address or host name.
        gpus: that it holds.
        images: that it settled: those of its applied gradients; that it checked or wrote.
        shards: that it wrote.
        ended: it is gone.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    node: str
    gpus: float = 0.0
    images: int = 0
    shards: int = 0
    ended: bool = False


class JobStatus(Document):
    """How a job is, in its own words.

    Attributes:
        reason: why it failed or stopped; None otherwise.
        doing: what it is at, as in "checking images".
        started: of this process; updated: when it last wrote this, which is its heartbeat.
        host, process: where the command runs.
        done, total, unit: how much of what it is at; total is None while that is not known.
        step, epoch: of training.
        images_per_second: of late; None before it is known.
        gpus: held now; gpu_seconds: held since `started`, summed over GPUs.
        processes: who runs where.
    """

    NOUN: ClassVar[str] = "a job's status"
    REMEDY: ClassVar[str] = "remove it: a job that runs writes it anew"

    format_version: Literal[1] = 1
    stage: JobStage
    state: JobState
    reason: str | None = None
    doing: str = ""
    started: AwareDatetime
    updated: AwareDatetime
    host: str
    process: int
    done: int = 0
    total: int | None = None
    unit: str = "images"
    step: int | None = None
    epoch: float | None = None
    images_per_second: float | None = None
    gpus: float = 0.0
    gpu_seconds: float = 0.0
    processes: tuple[ProcessPlace, ...] = ()

    def silence(self, now: datetime.datetime) -> datetime.timedelta | None:
        """For how long nothing was heard of a job that should be at work; None if it was."""
        silent = abs(now - self.updated)  # a word of tomorrow is of a clock that is wrong
        return silent if self.state is JobState.RUNNING and silent > SILENCE else None


class Attempt(Document):
    """One start of a submitted job on a cluster.

    Attributes:
        number: from 1, over all submissions of this stage in this place.
        submission: the job's id in Ray's Jobs API.
        address: of that cluster, as it was given.
        command: the local command that it carried out, without "manylabel".
        exit_code: of the command, negative for the signal that ended it; None while it runs.
        reason: what became of it, and what followed.
        step: that training had reached.
        gpu_seconds: GPUs that it held, times seconds.
    """

    NOUN: ClassVar[str] = "the record of a job's attempt"
    REMEDY: ClassVar[str] = "remove it; nothing but lists of jobs reads it"

    format_version: Literal[1] = 1
    number: int
    stage: JobStage
    submission: str
    address: str
    command: tuple[str, ...]
    code_version: str
    host: str
    started: AwareDatetime
    state: JobState = JobState.RUNNING
    ended: AwareDatetime | None = None
    exit_code: int | None = None
    reason: str | None = None
    step: int | None = None
    gpu_seconds: float = 0.0


def current_attempt(status: JobStatus | None, newest: Attempt | None) -> Attempt | None:
    """The attempt that tells how a job is; None for a command that was not submitted, though
    earlier ones were: `status` is then of a later start than the newest attempt's end.
    """
    if newest is None or newest.ended is None or status is None:
        return newest
    is_another = status.started < newest.started and status.updated > newest.ended
    if is_another and status.state is JobState.RUNNING:
        return None  # at work since before, it has refused the newest attempt its place
    return None if status.started > newest.ended else newest


def is_starting(status: JobStatus | None, newest: Attempt | None) -> bool:
    """Whether the newest attempt runs, and has not said a word itself."""
    attempt = current_attempt(status, newest)
    if attempt is None or attempt.ended is not None:
        return False
    return status is None or status.started < attempt.started


def gpu_seconds(status: JobStatus | None, attempts: Sequence[Attempt]) -> float:
    """GPUs held times seconds, of all attempts, that which is under way included."""
    newest = max(attempts, key=lambda attempt: attempt.number, default=None)
    held = sum(attempt.gpu_seconds for attempt in attempts if attempt.ended is not None)
    attempt = current_attempt(status, newest)
    is_over = attempt is not None and attempt.ended is not None
    if status is None or is_over or is_starting(status, newest):
        return held
    return held + status.gpu_seconds


def status_path(place: Path, stage: JobStage) -> Path:
    """Of a run's directory, or a dataset's."""
    return place / DIRECTORY / stage / "status.json"


def attempt_path(place: Path, stage: JobStage, number: int) -> Path:
    """The record of an attempt."""
    return place / DIRECTORY / stage / f"{number:04d}.json"


def logs_path(place: Path, stage: JobStage, number: int) -> Path:
    """The folder of an attempt's logs."""
    return place / DIRECTORY / stage / f"{number:04d}"


def local_logs_path(place: Path, stage: JobStage) -> Path:
    """The folder of what the processes print of commands that were not submitted, if it is asked
    for."""
    return place / DIRECTORY / stage / "logs"


def stop_now_path(place: Path, stage: JobStage) -> Path:
    """While this file is there, the job's command is killed, without a checkpoint."""
    return place / DIRECTORY / stage / "stop-now"


def attempt_numbers(place: Path, stage: JobStage) -> list[int]:
    """Of the attempts that there are, in order."""
    found = (place / DIRECTORY / stage).glob("[0-9]*.json")
    return sorted(int(path.stem) for path in found if path.stem.isascii() and path.stem.isdigit())


def log_to(logs: Path, process: str) -> None:
    """Has this process, and those that it starts from now on, print to `logs`/PROCESS.log.

    Raises:
        OSError: the file cannot be made.
    """
    logs.mkdir(parents=True, exist_ok=True)
    file = os.open(logs / f"{process}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.close(file)


def logs_of_this_job() -> Path | None:
    """Where the processes of the job that this command belongs to print; None: nowhere else."""
    folder = os.environ.get(LOGS_VARIABLE)
    return Path(folder) if folder else None


def is_retry() -> bool:
    """Whether this command is a later attempt of a submitted job, which an earlier one had begun.

    What the cluster had for that one and lacks now may come back, as a node does that was lost.
    """
    logs = logs_of_this_job()
    if logs is None or not logs.name.isdigit():
        return False
    numbers = (int(logs.name), int(logs.name) - 1)
    try:
        this, before = (Attempt.read(logs.with_name(f"{number:04d}.json")) for number in numbers)
    except (OSError, DocumentError):
        return False
    return this.submission == before.submission
