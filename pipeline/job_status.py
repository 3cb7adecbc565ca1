"""Writes a job's status and heartbeat into its place, from the events that it tells anyway."""

import datetime
import os
import socket
import threading
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from manylabel.pipeline.errors import Interrupted
from manylabel.pipeline.events import (
    Doing,
    Event,
    OnEvent,
    PredictionProgressed,
    PreprocessingProgressed,
    TrainingProgressed,
)
from manylabel.preprocessing.progress import Stage
from manylabel.storage.errors import ManylabelError, described, reason_of
from manylabel.storage.jobs import JobStage, JobState, JobStatus, ProcessPlace, status_path
from manylabel.storage.repeating import repeating

BEFORE_ANYTHING_CHANGES = (Stage.READ_CATALOG, Stage.COUNT_ROWS)
"""Stages of preprocessing in which the output is not yet its own."""

_WRITE_SECONDS = 5.0
_HEARTBEAT_SECONDS = 15.0


class StatusWriter:
    """Keeps `jobs/STAGE/status.json` of a place, from the first progress on until the job ends.

    Before that nothing says that the place is this job's: another may be at work in it.

    Training is watched by a monitor, which tells how it is twice a second: its word is the
    heartbeat, so that a monitor that hangs is silent. Other stages have long parts without a word,
    so a thread says that their process lives.

    Args:
        place: of the run or dataset; None where it is not on a file system.
    """

    def __init__(self, place: Path | None, stage: JobStage, on_event: OnEvent) -> None:
        self._place, self._stage, self._on_event = place, stage, on_event
        self._lock = threading.Lock()
        self._beating = ExitStack()
        self._status: JobStatus | None = None
        self._written = 0.0
        self._counted = time.monotonic()
        self._started = _now()

    def __enter__(self) -> Self:
        return self

    def begin(self, doing: str, *, gpus: float = 0.0) -> None:
        """Writes at once what a job is at that tells no events.

        Args:
            gpus: that it holds from now on.
        """
        if self._place is not None:
            self._note({"doing": doing, "gpus": gpus})
            self._write()

    def on_event(self, event: Event) -> None:
        """Notes what an event says, and passes it on."""
        self._on_event(event)
        values = _values(event)
        if self._place is not None and values is not None:
            self._note(values)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._beating.__exit__(kind, error, trace)
        if self._status is not None:
            state, reason = _ending(error)
            self._note({"state": state, "reason": reason, "gpus": 0.0})
            self._write()

    def _note(self, values: dict[str, Any]) -> None:
        with self._lock:
            begins = self._status is None
            status = self._status or JobStatus(
                stage=self._stage,
                state=JobState.RUNNING,
                started=self._started,
                updated=self._started,
                host=socket.gethostname(),
                process=os.getpid(),
            )
            now = time.monotonic()
            held = status.gpu_seconds + status.gpus * (now - self._counted)
            self._counted = now
            self._status = status.model_copy(update={**values, "gpu_seconds": held})
        if begins and self._stage is not JobStage.TRAIN:
            beat = repeating(self._write, _HEARTBEAT_SECONDS, "heartbeats")
            self._beating.enter_context(beat)
        if begins or now - self._written > _WRITE_SECONDS:
            self._write()

    def _write(self) -> None:
        with self._lock, suppress(OSError):  # no room for it is no reason to end the work
            if self._status is not None and self._place is not None:
                self._status = self._status.model_copy(update={"updated": _now()})
                self._status.write(status_path(self._place, self._stage))
                self._written = time.monotonic()


def _values(event: Event) -> dict[str, Any] | None:
    match event:
        case TrainingProgressed(progress):
            processes = progress.processes
            return {
                "doing": "training",
                "done": progress.settled,
                "total": progress.total,
                "step": progress.step,
                "epoch": progress.epoch,
                "images_per_second": progress.row.images_per_second if progress.row else None,
                "gpus": _gpus(processes),
                "processes": processes,
            }
        case PreprocessingProgressed(progress) if progress.stage not in BEFORE_ANYTHING_CHANGES:
            return {
                "doing": progress.stage.value,
                "done": progress.done,
                "total": progress.total,
                "unit": progress.unit,
                "images_per_second": progress.rate or None,
                "processes": progress.processes,
            }
        case PredictionProgressed(done, total, gpus):
            return {"doing": "predicting", "done": done, "total": total, "gpus": gpus}
        case Doing(what):
            return {"doing": what}
    return None


def _gpus(processes: tuple[ProcessPlace, ...]) -> float:
    return sum(process.gpus for process in processes if not process.ended)


def _ending(error: BaseException | None) -> tuple[JobState, str | None]:
    if error is None:
        return JobState.DONE, None
    reason = reason_of(error)
    if isinstance(error, KeyboardInterrupt):
        return JobState.STOPPED, "stopped"
    if isinstance(error, Interrupted):
        return JobState.STOPPED, reason
    if not isinstance(error, ManylabelError):
        reason = described(error)
    return JobState.FAILED, reason


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)
