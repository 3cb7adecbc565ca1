"""What a stage tells while it works, for whoever shows it: the terminal, a page."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # Who shows a stage need not load what the stage works with.
    from manylabel.eval.schedule.records import FireRecord
    from manylabel.preprocessing.progress import Progress
    from manylabel.preprocessing.report import PreprocessingReport
    from manylabel.trainer.reports import TrainingProgress, TrainingReport


@dataclass(frozen=True, slots=True)
class WorkBegan:
    """Long work began; the progress that follows is its own, until `WorkEnded`."""

    title: str


@dataclass(frozen=True, slots=True)
class WorkEnded:
    """The long work is over, done or not."""


@dataclass(frozen=True, slots=True)
class Doing:
    """What the work is at that cannot say how far it is, and may take long."""

    what: str


@dataclass(frozen=True, slots=True)
class PreprocessingProgressed:
    """How far a dataset is."""

    progress: "Progress"


@dataclass(frozen=True, slots=True)
class TrainingProgressed:
    """How far a run is."""

    progress: "TrainingProgress"


@dataclass(frozen=True, slots=True)
class LineTold:
    """Something to tell between what is progress: who does not answer, that it is saving."""

    line: str


@dataclass(frozen=True, slots=True)
class PredictionProgressed:
    """Images that are predicted, of all: held-out ones by `evaluate`, new ones by `predict`.

    Attributes:
        gpus: That the process holds.
    """

    done: int
    total: int
    gpus: int = 0


@dataclass(frozen=True, slots=True)
class ScoringProgressed:
    """Held-out images whose predictions, another tool's, are read, of all."""

    done: int
    total: int


@dataclass(frozen=True, slots=True)
class EvaluatedBefore:
    """A checkpoint needs no evaluation: it has one with these settings."""

    step: int


@dataclass(frozen=True, slots=True)
class CheckpointDamaged:
    """A checkpoint is left out, and why."""

    problem: str


@dataclass(frozen=True, slots=True)
class ResultUnreadable:
    """An evaluation or predictions of a checkpoint cannot be used; new ones take their place.

    Attributes:
        step: Of the checkpoint; None where the problem says all.
    """

    step: int | None
    problem: str


@dataclass(frozen=True, slots=True)
class PartBegan:
    """The demo goes on with its next part, counted from 1."""

    number: int
    title: str


@dataclass(frozen=True, slots=True)
class Preprocessed:
    """The demo has its dataset."""

    report: "PreprocessingReport"


@dataclass(frozen=True, slots=True)
class Trained:
    """The demo has its run."""

    report: "TrainingReport"


@dataclass(frozen=True, slots=True)
class FireBegan:
    """A schedule evaluates, and why."""

    schedule: str
    reason: str


@dataclass(frozen=True, slots=True)
class FireSettled:
    """What a schedule did, or passed over, as it is recorded."""

    record: "FireRecord"


@dataclass(frozen=True, slots=True)
class ScheduleProblem:
    """Something that schedules need cannot be read; what does not need it goes on."""

    problem: str


Event = (
    WorkBegan
    | WorkEnded
    | Doing
    | PreprocessingProgressed
    | TrainingProgressed
    | LineTold
    | PredictionProgressed
    | ScoringProgressed
    | EvaluatedBefore
    | CheckpointDamaged
    | ResultUnreadable
    | PartBegan
    | Preprocessed
    | Trained
    | FireBegan
    | FireSettled
    | ScheduleProblem
)

LOADING = "loading TensorFlow"
"""What a stage does for some seconds, more than ten from a slow disk."""

OnEvent = Callable[[Event], None]
"""Called while a stage works, also from other threads, and from two at a time."""


@contextmanager
def long_work(title: str, on_event: OnEvent) -> Iterator[None]:
    """Tells that the block began, and that it is over, whichever way it ends.

    Raises:
        Exception: what `on_event` raised, unless the block failed itself.
    """
    on_event(WorkBegan(title))
    try:
        yield
    except BaseException:
        with suppress(Exception):
            on_event(WorkEnded())
        raise
    on_event(WorkEnded())
