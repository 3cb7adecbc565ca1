"""How the jobs of a run are, from the files that they leave in its directory.

No cluster is asked: what it alone knows, as that a job waits for room, `manylabel status` says.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from manylabel.deploy.dashboard import formats
from manylabel.deploy.dashboard.errors import Problems
from manylabel.deploy.dashboard.reading import Store
from manylabel.storage.documents import Document
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

_D = TypeVar("_D", bound=Document)

PROCESSES = 40
"""Rows of the table of processes, and attempts beside it are a few: a job of 1,000 workers has as
light a page as one of 40. The page's JSON has all processes."""
ATTEMPTS = 3

_CSS = {JobState.RUNNING: "live", JobState.DONE: "done", JobState.FAILED: "broken"}


@dataclass(frozen=True)
class ShownJob:
    """A job of a run, or a command that was not submitted.

    Attributes:
        status: In its own words; None before the first, or where they cannot be read.
        attempts: On a cluster, newest first; those that can be read.
        quiet: For how long nothing was heard of it, although it should be at work.
    """

    stage: JobStage
    status: JobStatus | None
    attempts: tuple[Attempt, ...]
    quiet: timedelta | None

    @property
    def attempt(self) -> Attempt | None:
        """The newest; None for a command that was not submitted, though earlier ones were."""
        return current_attempt(self.status, self.attempts[0] if self.attempts else None)

    @property
    def is_starting(self) -> bool:
        """Whether its newest attempt runs, and has not said a word itself."""
        return is_starting(self.status, self.attempts[0] if self.attempts else None)

    @property
    def state(self) -> JobState:
        """Of the newest attempt once that has ended, else in the job's own words."""
        if self.attempt is not None and (self.attempt.ended is not None or self.is_starting):
            return self.attempt.state
        return JobState.RUNNING if self.status is None else self.status.state

    @property
    def word(self) -> str:
        """The state, for people."""
        if self.quiet is not None:
            return f"no update for {formats.duration(self.quiet.total_seconds())}"
        return "starting" if self.is_starting else str(self.state)

    @property
    def css(self) -> str:
        """Class of the mark beside the word."""
        return "broken" if self.quiet is not None else _CSS.get(self.state, "")

    @property
    def reason(self) -> str | None:
        """Why it failed or stopped."""
        if self.state in (JobState.RUNNING, JobState.DONE):
            return None
        if self.attempt is not None and self.attempt.ended is not None:
            return self.attempt.reason
        return None if self.status is None else self.status.reason

    @property
    def progress(self) -> str:
        """How far it is with what it is at."""
        status = self.status
        if status is None or self.is_starting:
            return ""
        of = "" if status.total is None else f" of {formats.count(status.total)}"
        done = f"{formats.count(status.done)}{of} {status.unit}"
        if status.step is None:
            return done
        return f"step {formats.count(status.step)}, epoch {status.epoch or 0:.2f}, {done}"

    @property
    def share(self) -> float | None:
        """Of what it is at that is done, from 0 to 1; None where that is not known."""
        status = self.status
        if status is None or self.is_starting or not status.total:
            return None
        return min(1.0, status.done / status.total)

    @property
    def heard(self) -> datetime:
        """When the newest word of it was written."""
        words = [each.ended or each.started for each in self.attempts[:1]]
        words += [] if self.status is None else [self.status.updated]
        return max(words, default=datetime.min.replace(tzinfo=UTC))

    @property
    def gpu_seconds(self) -> float:
        """GPUs held times seconds, over all attempts, that which is under way included."""
        return gpu_seconds(self.status, self.attempts)

    def to_json(self) -> dict[str, Any]:
        """As a page's JSON has it."""
        return {
            "stage": self.stage,
            "state": self.state,
            "word": self.word,
            "reason": self.reason,
            "quiet_seconds": None if self.quiet is None else self.quiet.total_seconds(),
            "gpu_hours": self.gpu_seconds / 3600,
            "status": None if self.status is None else self.status.model_dump(mode="json"),
            "attempts": [each.model_dump(mode="json") for each in self.attempts[:ATTEMPTS]],
            "attempt": None if self.attempt is None else self.attempt.number,
        }


def jobs_of(store: Store, run: str, problems: Problems) -> list[ShownJob]:
    """Those that a run's directory tells of, the one heard of last first; what cannot be read is
    counted."""
    found = (_job(store, store.root / run, stage, problems) for stage in JobStage)
    return sorted((job for job in found if job), key=lambda job: job.heard, reverse=True)


def newest_job(store: Store, run: str, problems: Problems) -> ShownJob | None:
    """The one heard of last, unless it ended well; of its attempts the newest alone is read."""
    found = [
        job
        for stage in JobStage
        if (job := _job(store, store.root / run, stage, problems, newest_alone=True))
    ]
    newest = max(found, key=lambda job: job.heard, default=None)
    return None if newest is None or newest.state is JobState.DONE else newest


def _job(
    store: Store, place: Path, stage: JobStage, problems: Problems, *, newest_alone: bool = False
) -> ShownJob | None:
    status = _read(store, status_path(place, stage), JobStatus, problems)
    numbers = sorted(attempt_numbers(place, stage), reverse=True)
    numbers = numbers[:1] if newest_alone else numbers
    attempts = tuple(_attempts(store, place, stage, numbers, problems))
    if status is None and not attempts:
        return None
    job = ShownJob(stage, status, attempts, None)
    return ShownJob(stage, status, attempts, _quiet(job, store.now()))


def _attempts(
    store: Store, place: Path, stage: JobStage, numbers: list[int], problems: Problems
) -> Iterator[Attempt]:
    for number in numbers:
        attempt = _read(store, attempt_path(place, stage, number), Attempt, problems)
        if attempt is not None:
            yield attempt


def _quiet(job: ShownJob, now: datetime) -> timedelta | None:
    if job.is_starting:
        since = now - job.attempts[0].started
        return since if since > SILENCE else None
    if job.status is None or job.state is not JobState.RUNNING:
        return None
    return job.status.silence(now)


def _read(store: Store, path: Path, kind: type[_D], problems: Problems) -> _D | None:
    def read(path: Path) -> _D:
        return kind.read(path)

    def there() -> _D | None:
        try:
            return store.cached(path, read, kind)
        except (FileNotFoundError, NotADirectoryError):
            return None

    return problems.attempt(there)
