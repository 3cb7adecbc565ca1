"""What a training job tells while it works, and at its end."""

from dataclasses import dataclass
from pathlib import Path

from manylabel.storage.jobs import ProcessPlace
from manylabel.trainer.plane.failures import FailureCounts
from manylabel.trainer.plane.metrics import MetricsRow


@dataclass(frozen=True)
class TrainingProgress:
    """What a job looks like at one moment.

    Attributes:
        updates: those of them that this job applied.
        settled: records done, of `total` in the whole run.
        epoch: passes over the training records that are done.
        workers: how many run.
        row: the newest metrics, None before the first.
        saved: steps of checkpoints that were finished just now.
        notes: lines about what went wrong just now; in the first, what the run began with, and
            about settings that go together badly.
        processes: who runs, or ran, where.
    """

    step: int
    updates: int
    settled: int
    total: int
    epoch: float
    workers: int
    row: MetricsRow | None
    saved: list[int]
    notes: list[str]
    processes: tuple[ProcessPlace, ...]


@dataclass(frozen=True)
class TrainingReport:
    """How a job ended.

    Attributes:
        step: updates applied in the whole run; samples: records in them.
        resumed_at: the step it went on from, 0 for a fresh run.
        interrupted: it was told to stop before its end, and can be resumed.
        was_finished: there was nothing to do.
    """

    run: Path
    step: int
    samples: int
    resumed_at: int
    seconds: float
    images_per_second: float
    counts: FailureCounts
    interrupted: bool
    was_finished: bool = False
