"""What the parts of the parameter plane ask of each other.

The parts are plain classes that get each other through their constructors. Two wirings implement
these protocols: actors (`trainer.program.topology`) and one process
(`trainer.program.in_process`).
"""

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from manylabel.trainer.plane.optimizers import FloatVector
from manylabel.trainer.plane.shard import UpdateId
from manylabel.trainer.records.ledger import LedgerState
from manylabel.trainer.records.reader import BadRecordReport

# One answer per shard, in shard order; where it comes from another process it may be still to
# come (a Ray object reference).
Answers = Sequence[Any]


@dataclass(frozen=True)
class Snapshot:
    """The weights after `version` updates; `answers` is for `WorkerShards.fetch`."""

    version: int
    answers: Answers


class Wait(enum.Enum):
    """In place of weights: not yet; ask again."""

    WAIT = "wait"


# What a worker that wants weights is told; None: stop.
Answer = Snapshot | Literal[Wait.WAIT] | None


@dataclass(frozen=True)
class GradientReport:
    """What a worker says of a gradient that it has staged on every shard.

    Attributes:
        base_version: version of the weights it was computed from.
        positions: int64[n], the stream positions of the batch's records.
        loss: mean loss of the batch, without the L2 term.
    """

    update: UpdateId
    base_version: int
    positions: NDArray[np.int64]
    loss: float

    @property
    def worker(self) -> str:
        """The worker's name."""
        return self.update[0]


class WorkerShards(Protocol):
    """All shards, as a worker sees them."""

    def stage(
        self, update: UpdateId, gradient: Sequence[FloatVector], statistics: Sequence[FloatVector]
    ) -> Answers:
        """Stages one slice on each shard; answers with the slices' sums of squares."""

    def fetch(self, snapshot: Snapshot) -> list[tuple[FloatVector, FloatVector]]:
        """The (parameters, statistics) of each shard. Read-only."""


class CoordinatorShards(Protocol):
    """All shards, as the coordinator sees them. Commands take effect in the order they are given,
    and none waits but where it says so."""

    def apply(
        self,
        update: UpdateId,
        learning_rate: float,
        average_decay: float,
        *,
        scale: float = 1.0,
        pulled: Snapshot | None = None,
    ) -> None:
        """Applies a staged update on every shard.

        Args:
            scale: what its gradient is multiplied by first.
            pulled: the weights it was computed from, if the delay since is to be compensated for.
        """

    def mean(self, update: UpdateId, parts: Sequence[tuple[UpdateId, float]]) -> float:
        """Stages the weighted mean of staged updates in their place, as `update`.

        Waits for it: the mean's sum of squares over all shards, as `WorkerShards.stage` has them.
        """

    def discard(self, update: UpdateId) -> None:
        """Drops a staged update."""

    def dismiss(self, worker: str) -> None:
        """Drops everything of a worker that ended."""

    def publish(self, version: int) -> Snapshot:
        """The weights as of now, which is `version`."""

    def save(self, paths: Sequence[Path], version: int) -> Answers:
        """Each shard writes its state as of now, which is `version`, to its path."""

    def settled(self, answers: Answers, *, wait: bool) -> bool:
        """Whether all answers are there, after waiting for them if asked to.

        Raises:
            OSError: a shard could not write.
        """


class Checkpoints(Protocol):
    """Where the coordinator has its cuts written."""

    def begin(self, step: int, samples: int, ledger: LedgerState) -> None:
        """Has every shard write its state as of now; waits for an earlier checkpoint first.

        Raises:
            CheckpointError: a file could not be written, or the state holds NaN or Inf.
            CheckpointStorageError: a file could not be written, and that is not for want of room;
                an UnreachableCheckpointError where it may pass.
        """

    def poll(self, *, wait: bool = False) -> None:
        """Publishes the checkpoint that was begun, if its files are written; raises as `begin`."""

    def take_finished(self) -> list[int]:
        """Steps of the checkpoints published since the last call."""


class WorkerCoordinator(Protocol):
    """The coordinator, as a worker sees it."""

    def lease(self, worker: str) -> tuple[int, int] | None:
        """A range of stream positions [start, stop) to read, or None: there is nothing to do."""

    def snapshot(self, worker: str) -> Answer:
        """Weights to compute a gradient from."""

    def commit(self, report: GradientReport, squares: Answers) -> Answer:
        """Hands in a staged gradient; answers as `snapshot`."""

    def report_bad_record(self, worker: str, record: BadRecordReport) -> None:
        """Tells of a record that was skipped."""
