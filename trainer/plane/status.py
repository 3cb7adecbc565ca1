"""What the coordinator tells the job's monitor."""

from dataclasses import dataclass

from manylabel.trainer.plane.failures import FailureCounts
from manylabel.trainer.plane.metrics import MetricsRow


@dataclass(frozen=True)
class CoordinatorStatus:
    """What the job's monitor sees.

    Attributes:
        step: updates applied; samples: records in them.
        rows: metrics since the last status.
        saved: steps of the checkpoints finished since the last status.
        counts: what went wrong; notes: lines about it for the user, since the last status.
        silent_workers: those that said nothing for as long as the settings allow.
        failure: why training stopped, or None; passing: whether another start may do better.
        settled: records that will not be dealt again: applied, unreadable or rejected.
        done: those of them that the run is to read; a longer one may have settled more.
        has_work: whether a worker that asks now would get records.
        finished: whether `done` are all records of the run.
        applied: records of each worker's applied gradients, of this start alone.
        heard: how many seconds ago of each worker; not of those that are made to wait.
    """

    step: int
    samples: int
    settled: int
    done: int
    rows: list[MetricsRow]
    saved: list[int]
    counts: FailureCounts
    notes: list[str]
    silent_workers: list[str]
    failure: str | None
    passing: bool
    has_work: bool
    finished: bool
    applied: dict[str, int]
    heard: dict[str, float]
