"""The one place where updates get their order, records get counted, checkpoints are cut."""

import math
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from manylabel.storage.watched_time import WatchedTime
from manylabel.trainer.errors import (
    CheckpointError,
    CheckpointStorageError,
    UnreachableCheckpointError,
)
from manylabel.trainer.plane.failures import FailureConfig, FailureCounts, Seen, Stop, judge
from manylabel.trainer.plane.metrics import MetricsWindow
from manylabel.trainer.plane.policies.asynchronous import AsynchronousPolicy
from manylabel.trainer.plane.policies.events import Joined, Stopping, UpdatePolicy
from manylabel.trainer.plane.protocols import (
    Answer,
    Answers,
    Checkpoints,
    CoordinatorShards,
    GradientReport,
)
from manylabel.trainer.plane.status import CoordinatorStatus
from manylabel.trainer.plane.updates import UpdateRules, Updates
from manylabel.trainer.records.ledger import RecordLedger, Settlement
from manylabel.trainer.records.reader import BadRecordReport

_LONGEST_GAP_SECONDS = 5.0
"""Between two looks at who is silent."""


class Coordinator:
    """Commits gradients, one after the other.

    A worker stages its gradient on every shard and then asks for a commit. The policy decides what
    becomes of it: an update, which gets its place in the one order in which all shards apply
    updates, and settles the records of its batch; a part of a later update; or nothing. So shards
    never differ in which updates they hold, and a checkpoint that is cut between two commits holds
    exactly the records that the ledger counts.

    Args:
        samples_per_checkpoint: records between checkpoints.
        policy: by default asynchronous, without a bound.
    """

    def __init__(
        self,
        shards: CoordinatorShards,
        ledger: RecordLedger,
        checkpoints: Checkpoints,
        rules: UpdateRules,
        failures: FailureConfig,
        *,
        samples_per_checkpoint: int,
        updates_per_row: int,
        policy: UpdatePolicy | None = None,
        step: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._shards = shards
        self._ledger = ledger
        self._checkpoints = checkpoints
        self._failures = failures
        self._samples_per_checkpoint = samples_per_checkpoint
        # Workers are asked for by a status, twice a second; time in which none was asked for is not
        # theirs, as that of a process that was stopped.
        silence = failures.worker_silence_seconds
        self._watched = WatchedTime(min(_LONGEST_GAP_SECONDS, silence / 4), clock)
        self._window = MetricsWindow(updates_per_row, clock)
        policy = policy or AsynchronousPolicy(version=step)
        self._updates = Updates(policy, rules, shards, ledger, self._window, step)
        self._counts = FailureCounts()
        self._gradients = 0
        self._started_at = step, sum(map(ledger.settled, Settlement))
        self._failure: Stop | None = None
        self._last_heard: dict[str, float] = {}
        self._stopping = False
        self._dismissed: set[str] = set()
        self._next_checkpoint = self._samples + samples_per_checkpoint
        self._settled_in_checkpoint: int | None = self._settled  # None: of one to be cut again
        self._notes: list[str] = []

    @property
    def answers_waiting(self) -> bool:
        """Whether a worker that was told to wait would be told something else now."""
        waiting = self._updates.waiting
        return self._updates.admitted_waiting or bool(
            waiting if self._halted else waiting & self._dismissed
        )

    @property
    def _samples(self) -> int:
        return self._ledger.settled(Settlement.APPLIED)

    @property
    def _settled(self) -> int:
        return sum(map(self._ledger.settled, Settlement))

    @property
    def _seen(self) -> Seen:
        step, settled = self._started_at
        return Seen(self._settled - settled, self._gradients, self._updates.step - step)

    @property
    def _halted(self) -> bool:
        return self._stopping or self._failure is not None

    def worker_started(self, worker: str) -> None:
        """Begins to wait for the worker's first word."""
        self._last_heard[worker] = self._watched()
        self._updates.handle(Joined(worker))

    def lease(self, worker: str) -> tuple[int, int] | None:
        """See `WorkerCoordinator.lease`."""
        self._hear(worker)
        if self._halted or worker in self._dismissed:
            return None
        return self._ledger.lease(worker)

    def snapshot(self, worker: str) -> Answer:
        """See `WorkerCoordinator.snapshot`."""
        self._hear(worker)
        if self._halted or worker in self._dismissed:
            self._updates.no_weights_for(worker)
            return None
        return self._updates.weights_for(worker)

    def commit(self, report: GradientReport, squares: Answers) -> Answer:
        """See `WorkerCoordinator.commit`.

        Args:
            squares: sum of squares of the gradient's slice on each shard, float each.
        """
        worker = report.worker
        if not self._ledger.holds(worker, report.positions):
            # Its records were taken back: it was thought dead, and others may have them now.
            self._shards.discard(report.update)
            return None
        self._gradients += 1
        total = sum(squares)
        if math.isfinite(total) and math.isfinite(report.loss):
            if self._counts.rejected_in_a_row:
                self._counts = replace(self._counts, rejected_in_a_row=0)
            self._updates.push(report, total)
            self._cut_checkpoint_if_due()
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
        records = self._updates.leave(worker)
        self._cut_checkpoint_if_due()
        if death is not None:
            self._counts = replace(self._counts, worker_deaths=self._counts.worker_deaths + 1)
            self._judge(f"worker {worker} died ({death}); {records} records were taken back")

    def excuse_silence(self) -> None:
        """Workers said nothing through no fault of their own: their time begins anew."""
        self._last_heard = dict.fromkeys(self._last_heard, self._watched())

    def stop(self) -> None:
        """Deals nothing more; workers stop after the gradient they are at."""
        self._stopping = True
        self._updates.handle(Stopping())

    def finish(self) -> None:
        """Ends the last row of metrics and cuts the last checkpoint, unless what made training fail
        forbids it.

        Workers may still be at a gradient: its records count as undone. The checkpoint may be of
        the same step as the one before it: records may have been settled without an update. Storage
        that fails while one is written, and is not full, is tried once more.
        """
        self._stopping = True
        self._window.finish_row()
        self._poll_checkpoint(wait=True)
        for _ in range(2):
            sound = self._failure is None or self._failure.save
            if sound and self._settled != self._settled_in_checkpoint:
                self._cut_checkpoint()
                self._poll_checkpoint(wait=True)

    def status(self) -> CoordinatorStatus:
        """What happened since the last call."""
        self._poll_checkpoint()
        notes, self._notes = self._notes, []
        return CoordinatorStatus(
            self._updates.step,
            self._samples,
            self._settled,
            self._ledger.settled_within(0, self._ledger.total),
            self._window.take_rows(),
            self._checkpoints.take_finished(),
            self._counts,
            notes,
            self._silent_workers(),
            self._failure.reason if self._failure else None,
            self._failure.passing if self._failure else False,
            not self._halted and self._ledger.has_work,
            self._ledger.finished,
            dict(self._updates.applied),
            self._heard(),
        )

    def _reject(self, report: GradientReport) -> None:
        self._updates.reject(report)
        self._counts = replace(
            self._counts,
            rejected_gradients=self._counts.rejected_gradients + 1,
            rejected_in_a_row=self._counts.rejected_in_a_row + 1,
        )
        self._judge(
            f"a gradient of worker {report.worker} at step {self._updates.step} held NaN or Inf "
            f"(loss {report.loss:.4g}); its {len(report.positions)} records were skipped"
        )

    def _judge(self, detail: str) -> None:
        self._notes.append(detail)
        if self._failure is None:
            self._failure = judge(self._counts, self._seen, self._failures, detail)

    def _hear(self, worker: str) -> None:
        if worker in self._last_heard:
            self._last_heard[worker] = self._watched()

    def _silent_workers(self) -> list[str]:
        latest = self._watched() - self._failures.worker_silence_seconds
        waiting = self._updates.waiting
        return [
            worker
            for worker, heard in self._last_heard.items()
            if heard < latest and worker not in waiting
        ]

    def _heard(self) -> dict[str, float]:
        now, waiting = self._watched(), self._updates.waiting
        return {
            worker: now - heard
            for worker, heard in self._last_heard.items()
            if worker not in waiting
        }

    def _cut_checkpoint_if_due(self) -> None:
        if self._samples >= self._next_checkpoint and self._failure is None:
            self._cut_checkpoint()

    def _cut_checkpoint(self) -> None:
        self._next_checkpoint = self._samples + self._samples_per_checkpoint
        self._settled_in_checkpoint = self._settled
        try:
            self._checkpoints.begin(self._updates.step, self._samples, self._ledger.state())
        except CheckpointError as error:
            self._note_unwritten(error)

    def _poll_checkpoint(self, *, wait: bool = False) -> None:
        try:
            self._checkpoints.poll(wait=wait)
        except CheckpointError as error:
            self._note_unwritten(error)

    def _note_unwritten(self, error: CheckpointError) -> None:
        again = isinstance(error, CheckpointStorageError)
        if again:
            self._settled_in_checkpoint = None
        passing = isinstance(error, UnreachableCheckpointError)
        self._failure = self._failure or Stop(str(error), save=again, passing=passing)


def _position(record: BadRecordReport) -> NDArray[np.int64]:
    return np.asarray([record.position], np.int64)
