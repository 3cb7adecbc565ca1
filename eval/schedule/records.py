"""The record of a fire: a moment at which a schedule had something to decide, and what came of it.

<root>/schedule/fires/NAME/
  20261025T010000Z.json           a cron line's fire, by the first due time that it is for
  00001200-4f2a….json             a new checkpoint's, by step, and run and digest
  20261025T010000Z.2.json         the second attempt at the first of them
  20261025T010000Z.log            what happened in all attempts, for people

Each file is made once, whole, by whoever takes the attempt; that nobody else can make it again is
what keeps two processes from doing the same work. Its owner alone renews it.
"""

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from manylabel.storage.documents import Document, sha256_of
from manylabel.storage.locations import PathBelow

HEARTBEAT = timedelta(seconds=30)
STALE = timedelta(minutes=5)
"""A process on another host whose heartbeat is as old as this is dead: ten beats, and more than
the clocks of two hosts should differ."""

_TIME_KEY = "%Y%m%dT%H%M%SZ"


class FireAction(StrEnum):
    """What was done about what was due.

    STARTED: an attempt to evaluate.
    SKIPPED_OVERLAP: nothing, since the fire before was at work when it was due.
    MISSED: nothing, since it was too late.
    """

    STARTED = "started"
    SKIPPED_OVERLAP = "skipped_overlap"
    MISSED = "missed"


class Outcome(StrEnum):
    """How an attempt ended.

    DONE: evaluated.
    FAILED: it will be tried again.
    INTERRUPTED: it will be tried again, and this does not count as a failure: somebody stopped the
        process, or another one evaluates the same checkpoint.
    GIVEN_UP: it failed, and nothing more will be tried.
    """

    DONE = "done"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    GIVEN_UP = "given_up"


class FireEvaluation(BaseModel):
    """An evaluation that a fire made, or found made.

    Attributes:
        run: Name of the run.
        step: Of the checkpoint.
        settings: Name of the settings.
        new: Whether this fire made it.
        verdict: What the review against the champion shows; None: there is no such review.
        note: Why there is no review although there is a champion.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    run: PathBelow
    step: int
    settings: PathBelow
    new: bool
    verdict: str | None = None
    note: str | None = None


class FireJob(BaseModel):
    """A job on a cluster that evaluates for a fire.

    Attributes:
        run: Name of the run, whose directory says how the job is and what it printed.
        submission: Its id in Ray's Jobs API.
        address: Of that cluster's Jobs API.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    run: PathBelow
    submission: str
    address: str


class FireRecord(Document):
    """One attempt, or one decision to do nothing.

    Attributes:
        schedule: Name of the schedule.
        key: Of the fire, the same for all its attempts.
        reason: Why it was decided so, for people.
        due: The newest due time that it is for, UTC; of a new checkpoint, when it was seen.
        coalesced: Earlier due times, or older new checkpoints, that this one stands for as well.
        run: Of a new checkpoint; None for a cron line, as are `step` and `checkpoint_digest`.
        attempt: From 1.
        failures: Attempts before this one that failed or died.
        first_started: When the first attempt was taken.
        started: When this one was.
        heartbeat: When its process was last known to be alive.
        ended: None while it is at work, or if its process died.
        outcome: None likewise, and where nothing was started.
        retry_at: When it is tried again, if it is.
        evaluations: What it evaluated.
        jobs: Those that did so on a cluster, of earlier attempts too, in the order of submission.
        error: Why it failed.
        commands: What was run because of it, with exit codes.
        log: Path below the root.
    """

    NOUN: ClassVar[str] = "the record of a fire"
    REMEDY: ClassVar[str] = (
        "remove it, and what it is for is decided again; what is evaluated stays"
    )

    format_version: Literal[2] = 2
    schedule: PathBelow
    key: PathBelow
    action: FireAction
    reason: str
    due: datetime
    coalesced: int = 0
    run: PathBelow | None = None
    step: int | None = None
    checkpoint_digest: str | None = None
    attempt: int = 1
    failures: int = 0
    first_started: datetime
    started: datetime
    host: str
    pid: int
    heartbeat: datetime
    ended: datetime | None = None
    outcome: Outcome | None = None
    retry_at: datetime | None = None
    evaluations: tuple[FireEvaluation, ...] = ()
    jobs: tuple[FireJob, ...] = ()
    error: str | None = None
    commands: tuple[str, ...] = ()
    log: PathBelow | None = None

    @property
    def is_settled(self) -> bool:
        """Whether nothing more will be done about what it is for."""
        return self.action is not FireAction.STARTED or self.outcome in (
            Outcome.DONE,
            Outcome.GIVEN_UP,
        )

    def is_at_work(self, now: datetime, host: str) -> bool:
        """Whether its process lives, as the host sees it whose only process for schedules asks."""
        if self.is_settled or self.ended is not None or self.host == host:
            return False
        return now - self.heartbeat < STALE


def time_key(due: datetime) -> str:
    """Of a cron line's fire; sorts by time."""
    return due.astimezone(UTC).strftime(_TIME_KEY)


def checkpoint_key(run: str, step: int, digest: str) -> str:
    """Of a new checkpoint's fire; sorts by step, and is as long for any name of a run."""
    return f"{step:08d}-{sha256_of(f'{run}/{digest}'.encode())[:16]}"
