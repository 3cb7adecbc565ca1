"""The one place where updates get their order, records get counted, checkpoints are cut."""

import math
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from manylabel.trainer.errors import CheckpointError
from manylabel.trainer.plane.failures import FailureConfig, FailureCounts, Stop, judge
from manylabel.trainer.plane.metrics import MetricsRow, MetricsWindow
from manylabel.trainer.plane.protocols import (
    Answers,
    Checkpoints,
    CoordinatorShards,
    GradientReport,
    Snapshot,
)
from manylabel.trainer.plane.schedules import ExponentialDecay, PolyakAverage
from manylabel.trainer.records.ledger import RecordLedger, Settlement
from manylabel.trainer.records.reader import BadRecordReport


@dataclass(frozen=True)
class CoordinatorStatus:
    """What the job's monitor sees.

    Attributes:
        step: updates applied; samples: records in them.
        rows: metrics since the last status.
        saved: steps of the checkpoints finished since the last status.
        counts: what went wrong; notes: lines about it for the user, since the last status.
        silent_workers: those that said nothing for as long as the settings allow.
        failure: why training stopped, or None.
        settled: records that will not be dealt again: applied, unreadable or rejected.
        has_work: whether a worker that asks now would get records.
        finished: whether `settled` are all records of the run.
        applied: records of each worker's applied gradients, of this start alone.
    """

    step: int
    samples: int
    settled: int
    rows: list[MetricsRow]
    saved: list[int]
    counts: FailureCounts
    notes: list[str]
    silent_workers: list[str]
    failure: str | None
    has_work: bool
    finished: bool
    applied: dict[str, int]


class Coordinator:
    """Commits gradients, one after the other.

    A worker stages its gradient on every shard and then asks for a commit. The commit decides,
    gives the update its place in the one order in which all shards apply updates, and settles the
    records of its batch. So shards never differ in which updates they hold, and a checkpoint that
    is cut between two commits holds exactly the records that the ledger counts.

    Args:
        samples_per_checkpoint: records between checkpoints.
    """

    def __init__(
        self,
        shards: CoordinatorShards,
        ledger: RecordLedger,
        checkpoints: Checkpoints,
        schedule: ExponentialDecay,
        averaging: PolyakAverage,
        failures: FailureConfig,
        *,
        samples_per_checkpoint: int,
        updates_per_row: int,
        step: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._shards = shards
        self._ledger = ledger
        self._checkpoints = checkpoints
        self._schedule = schedule
        self._averaging = averaging
        self._failures = failures
        self._samples_per_checkpoint = samples_per_checkpoint
        self._step = step
        self._window = MetricsWindow(updates_per_row, clock)
        self._counts = FailureCounts()
        self._failure: Stop | None = None
        self._clock = clock
        self._last_heard: dict[str, float] = {}
        self._stopping = False
        self._dismissed: set[str] = set()
        self._next_checkpoint = self._samples + samples_per_checkpoint
        self._settled_in_checkpoint = self._settled
        self._notes: list[str] = []
        self._applied: Counter[str] = Counter()

    @property
    def _samples(self) -> int:
        return self._ledger.settled(Settlement.APPLIED)

    @property
    def _settled(self) -> int:
        return sum(map(self._ledger.settled, Settlement))

    @property
    def _halted(self) -> bool:
        return self._stopping or self._failure is not None

    def worker_started(self, worker: str) -> None:
        """Begins to wait for the worker's first word."""
        self._last_heard[worker] = self._clock()

    def lease(self, worker: str) -> tuple[int, int] | None:
        """See `WorkerCoordinator.lease`."""
        self._hear(worker)
        if self._halted or worker in self._dismissed:
            return None
        return self._ledger.lease(worker)

    def snapshot(self, worker: str) -> Snapshot | None:
        """See `WorkerCoordinator.snapshot`."""
        self._hear(worker)
        if self._halted or worker in self._dismissed:
            return None
        return self._shards.publish(self._step)

    def commit(self, report: GradientReport, squares: Answers) -> Snapshot | None:
        """See `WorkerCoordinator.commit`.

        Args:
            squares: sum of squares of the gradient's slice on each shard, float each.
        """
        worker = report.worker
        if not self._ledger.holds(worker, report.positions):
            # Its records were taken back: it was thought dead, and others may have them now.
            self._shards.discard(report.update)
            return None
        norm = math.sqrt(sum(squares)) if math.isfinite(sum(squares)) else math.nan
        if math.isfinite(norm) and math.isfinite(report.loss):
            self._apply(report, norm)
        else:
            self._reject(report)
        return self.snapshot(worker)

    def report_bad_record(self, worker: str, record: BadRecordReport) -> None:
        """See `WorkerCoordinator.report_bad_record`."""
        if worker in self._dismissed:
            return
        self._ledger.settle(worker, _position(record), Settlement.BAD_RECORD)
        self._counts = replace(self._counts, bad_records=self._counts.bad_records + 1)
        self._judge(f"{record.path}, byte {record.offset}: {record.detail}")

    def worker_ended(self, worker: str, death: str | None) -> None:
        """Takes back what a worker still held, so that others get it.

        Args:
            death: why it died; None for one that stopped by itself.
        """
        self._dismissed.add(worker)
        self._last_heard.pop(worker, None)
        self._shards.dismiss(worker)
        records = self._ledger.take_back(worker)
        if death is not None:
            self._counts = replace(self._counts, worker_deaths=self._counts.worker_deaths + 1)
            self._judge(f"worker {worker} died ({death}); {records} records were taken back")

    def stop(self) -> None:
        """Deals nothing more; workers stop after the gradient they are at."""
        self._stopping = True

    def finish(self) -> None:
        """Ends the last row of metrics and cuts the last checkpoint, unless what made training fail
        forbids it.

        Workers may still be at a gradient: its records count as undone. The checkpoint may be of
        the same step as the one before it: records may have been settled without an update.
        """
        self._stopping = True
        self._window.finish_row()
        sound = self._failure is None or self._failure.save
        if sound and self._settled != self._settled_in_checkpoint:
            self._cut_checkpoint()
        self._poll_checkpoint(wait=True)

    def status(self) -> CoordinatorStatus:
        """What happened since the last call."""
        self._poll_checkpoint()
        notes, self._notes = self._notes, []
        return CoordinatorStatus(
            self._step,
            self._samples,
            self._settled,
            self._window.take_rows(),
            self._checkpoints.take_finished(),
            self._counts,
            notes,
            self._silent_workers(),
            self._failure.reason if self._failure else None,
            not self._halted and self._ledger.has_work,
            self._ledger.finished,
            dict(self._applied),
        )

    def _apply(self, report: GradientReport, gradient_norm: float) -> None:
        rate = self._schedule.at(samples=self._samples, steps=self._step)
        staleness = self._step - report.base_version
        self._step += 1
        self._shards.apply(report.update, rate, self._averaging.decay_at(self._step))
        self._ledger.settle(report.worker, report.positions, Settlement.APPLIED)
        self._applied[report.worker] += len(report.positions)
        self._counts = replace(self._counts, rejected_in_a_row=0)
        self._window.add(
            step=self._step,
            samples=self._samples,
            images=len(report.positions),
            loss=report.loss,
            learning_rate=rate,
            staleness=staleness,
            gradient_norm=gradient_norm,
        )
        if self._samples >= self._next_checkpoint and self._failure is None:
            self._cut_checkpoint()

    def _reject(self, report: GradientReport) -> None:
        self._shards.discard(report.update)
        self._ledger.settle(report.worker, report.positions, Settlement.REJECTED_GRADIENT)
        self._counts = replace(
            self._counts,
            rejected_gradients=self._counts.rejected_gradients + 1,
            rejected_in_a_row=self._counts.rejected_in_a_row + 1,
        )
        self._judge(
            f"a gradient of worker {report.worker} at step {self._step} held NaN or Inf "
            f"(loss {report.loss:.4g}); its {len(report.positions)} records were skipped"
        )

    def _judge(self, detail: str) -> None:
        self._notes.append(detail)
        if self._failure is None:
            self._failure = judge(self._counts, self._failures, detail)

    def _hear(self, worker: str) -> None:
        if worker in self._last_heard:
            self._last_heard[worker] = self._clock()

    def _silent_workers(self) -> list[str]:
        latest = self._clock() - self._failures.worker_silence_seconds
        return [worker for worker, heard in self._last_heard.items() if heard < latest]

    def _cut_checkpoint(self) -> None:
        try:
            self._checkpoints.begin(self._step, self._samples, self._ledger.state())
        except CheckpointError as error:
            self._failure = self._failure or Stop(str(error), save=False)
        self._next_checkpoint = self._samples + self._samples_per_checkpoint
        self._settled_in_checkpoint = self._settled

    def _poll_checkpoint(self, *, wait: bool = False) -> None:
        try:
            self._checkpoints.poll(wait=wait)
        except CheckpointError as error:
            self._failure = self._failure or Stop(str(error), save=False)


def _position(record: BadRecordReport) -> NDArray[np.int64]:
    return np.asarray([record.position], np.int64)
