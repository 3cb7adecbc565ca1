"""A training job: makes or finds the run, starts the program, watches it to its end."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from manylabel.storage.dataset import Dataset
from manylabel.storage.errors import reason_of
from manylabel.storage.full_disks import remedy
from manylabel.storage.jobs import logs_of_this_job
from manylabel.storage.passing_failures import may_pass
from manylabel.storage.schema import SplitName
from manylabel.storage.shard_files import check_shards
from manylabel.storage.stop_signals import on_stop_signal
from manylabel.storage.watched_time import WatchedTime
from manylabel.trainer.config import TrainerConfig
from manylabel.trainer.errors import LostPartError, TrainingError, UnreachableRunError
from manylabel.trainer.finished import check_there_is_work, finished_before
from manylabel.trainer.plane.metrics import MetricsRow
from manylabel.trainer.plane.status import CoordinatorStatus
from manylabel.trainer.program.cluster import (
    joined_cluster,
    placement_on_cluster,
    training_cluster,
)
from manylabel.trainer.program.initial_state import make_initial_checkpoint
from manylabel.trainer.program.losses import AGAIN
from manylabel.trainer.program.plan import TrainingPlan, check_stream, total_records
from manylabel.trainer.program.silences import Silences, telling
from manylabel.trainer.program.topology import Topology
from manylabel.trainer.recipe_warnings import recipe_warnings
from manylabel.trainer.reports import TrainingProgress, TrainingReport
from manylabel.trainer.runs.checkpoint import checkpoint_path
from manylabel.trainer.runs.directory import (
    check_run,
    describe_run,
    is_described,
    read_initial_weights,
)
from manylabel.trainer.runs.metrics_log import MetricsLog
from manylabel.trainer.runs.resume import checkpoint_to_resume
from manylabel.trainer.runs.sole_job import sole_training_job

_POLL_SECONDS = 0.5
# Between two looks at who is silent; more is the time of a driver that was stopped itself.
_LONGEST_GAP_SECONDS = 10.0
# Of the 30 s or so that schedulers give a job between SIGTERM and SIGKILL.
_GRACE_SECONDS = 8.0


def train(
    config: TrainerConfig,
    dataset_root: str | Path,
    run: str | Path,
    *,
    address: str | None = None,
    settings: Mapping[str, Any] | None = None,
    on_progress: Callable[[TrainingProgress], None] = lambda progress: None,
    on_line: Callable[[str], None] = lambda line: None,
    on_doing: Callable[[str], None] = lambda what: None,
) -> TrainingReport:
    """Trains a run to its end, from its newest intact checkpoint if it has one.

    Args:
        dataset_root: a finished dataset; on a cluster, a location that every node can read.
        run: the run's directory; on a cluster, a location that every node shares.
        address: of a Ray cluster; None runs everything on this machine.
        settings: what to store as the run's resolved settings; by default `config`, beside what
            the dataset's manifest says of its making.
        on_progress, on_doing: told how far training is; and what it does before it trains.
        on_line: what to tell while there is no progress: who does not answer, that it is saving;
            called by another thread.

    Raises:
        TrainingError: training cannot begin or go on; the message says why. What was trained is
            saved, if it could be.
        UnreachableRunError: it is that metrics or a checkpoint cannot be written now.
        DatasetError: there is no complete dataset, or a shard of either side is not the file that
            its manifest lists.
        OSError: a file of the run cannot be written before there is anything to save, or after all
            is; names it.
    """
    dataset, run = Dataset.open(dataset_root), Path(run).absolute()
    check_there_is_work(dataset, config)
    if (finished := finished_before(run, dataset, config)) is not None:
        return finished
    check_shards(dataset, *SplitName)  # Held-out ones too: the run is made to be evaluated.
    with (
        joined_cluster(address, config.topology) as joined,
        sole_training_job(run),
        ExitStack() as stack,
    ):
        silences, stop = Silences(WatchedTime(_LONGEST_GAP_SECONDS)), threading.Event()
        on_progress = stack.enter_context(telling(silences, stop, on_line, on_progress))
        # All that may be wrong is found before anything of the run is changed.
        check_run(run, dataset, config)
        plan, notes = _plan(run, dataset, config, silences, on_doing)
        layout = plan.manifest.layout
        vector_bytes = 4 * (layout.parameter_count + layout.statistics_count)
        on_doing("waiting for room on the cluster" if joined else "starting Ray on this machine")
        with silences.waiting("Ray"):
            share = stack.enter_context(training_cluster(address, config.topology, vector_bytes))
        # An event that each signal to stop sets, so that a checkpoint is made.
        stack.enter_context(on_stop_signal(stop.set))
        placement = placement_on_cluster(config, layout, share, started_here=not joined)
        describe_run(run, dataset, config, settings or _settings_of(dataset, config))
        metrics = stack.enter_context(MetricsLog(run, plan.manifest.step))
        on_doing("parameter shards are starting")
        topology = Topology(plan, share, placement, silences, logs=_folder_of_logs())
        stack.callback(topology.close)
        monitor = _Monitor(topology, plan, dataset, metrics, on_progress, silences, notes)
        return monitor.watch(stop)


def _settings_of(dataset: Dataset, config: TrainerConfig) -> dict[str, Any]:
    made = {"preprocessing": dataset.manifest.settings} if dataset.manifest.settings else {}
    return {**made, "trainer": config.model_dump(mode="json")}


def _plan(
    run: Path,
    dataset: Dataset,
    config: TrainerConfig,
    silences: Silences,
    on_doing: Callable[[str], None],
) -> tuple[TrainingPlan, list[str]]:
    """From which checkpoint the run goes on, and what to tell of that.

    Raises:
        TrainingError: it is not of this dataset or of these settings, or cannot be read.
    """
    checkpoint, notes = _checkpoint_to_begin_with(run, dataset, config, silences, on_doing)
    root = str(dataset.root.absolute())
    plan = TrainingPlan.from_checkpoint(config, root, run, checkpoint)
    check_stream(checkpoint, plan.manifest.stream, dataset, config.input)
    return plan, notes


def _useless(run: Path, status: CoordinatorStatus, note: str) -> TrainingError:
    counts = status.counts
    return TrainingError(
        f"{run}: none of {status.settled:,} records made an update: {counts.bad_records:,} could "
        f"not be read, and {counts.rejected_gradients:,} gradients held NaN or Inf; the last: "
        f"{note}"
    )


def _without_metrics(error: OSError, status: CoordinatorStatus) -> TrainingError:
    # Where the checkpoint was refused as well, that says what to do.
    saved = f"step {status.step:,} is saved; {remedy(error.errno)}, then {AGAIN}"
    kind = UnreachableRunError if may_pass(error) else TrainingError
    return kind(f"{reason_of(error)}, so training ended: {status.failure or saved}")


def _folder_of_logs() -> Path | None:
    logs = logs_of_this_job()
    if logs is not None:
        logs.mkdir(parents=True, exist_ok=True)
    return logs


def _checkpoint_to_begin_with(
    run: Path,
    dataset: Dataset,
    config: TrainerConfig,
    silences: Silences,
    on_doing: Callable[[str], None],
) -> tuple[Path, list[str]]:
    """The newest intact one, or else one that is made, and what to tell of that."""
    on_doing("looking for a checkpoint to go on from")
    checkpoint = checkpoint_to_resume(run)
    if checkpoint is not None and not _never_began(run, checkpoint):
        return checkpoint, []
    on_doing("making the first weights")
    with silences.waiting("the process that makes the first weights"):
        checkpoint = make_initial_checkpoint(run, dataset, config)
    weights = read_initial_weights(run)
    return checkpoint, [weights.told()] if weights else []


def _never_began(run: Path, checkpoint: Path) -> bool:
    """Whether this is the initial checkpoint of a job that found no cluster: it may be of other
    settings, since none were written down."""
    return checkpoint == checkpoint_path(run, 0) and not is_described(run)


class _Monitor:
    """Replaces workers that die, reports progress, and ends the job."""

    def __init__(
        self,
        topology: Topology,
        plan: TrainingPlan,
        dataset: Dataset,
        metrics: MetricsLog,
        on_progress: Callable[[TrainingProgress], None],
        silences: Silences,
        notes: Sequence[str],
    ) -> None:
        self._topology = topology
        self._plan = plan
        self._records = dataset.records(SplitName.TRAIN)
        self._total = total_records(dataset, plan.config)
        self._metrics = metrics
        self._on_progress = on_progress
        self._silences = silences
        self._row: MetricsRow | None = None
        self._began_at = plan.manifest.step
        self._last_note = ""
        self._unwritten: OSError | None = None  # why rows of metrics are missing
        self._unheard: Exception | None = None  # what who is told of progress raised
        counts = dataset.labels().column("train_count").to_numpy()
        self._notes = [*notes, *recipe_warnings(plan.config, counts)]

    def watch(self, stop: threading.Event) -> TrainingReport:
        """Runs the workers until every record is settled, training fails, or `stop` is set.

        Raises:
            TrainingError: training failed, what was sound is saved; or no record was of any use.
            UnreachableRunError: metrics or a checkpoint cannot be written now.
            LostPartError: a part of the program was lost, or does not answer.
            Exception: what `on_progress` raised; what was sound is saved.
        """
        try:
            return self._watch(stop)
        except LostPartError as error:
            raise LostPartError(f"{error}; logs: {self._topology.logs}") from error

    def _watch(self, stop: threading.Event) -> TrainingReport:
        status = first = self._report()
        began = time.monotonic()
        while not (status.finished or status.failure or self._is_to_end(stop)):
            if status.has_work:
                self._fill_up_workers()
            self._bury_workers(status, first)
            status = self._report()
        if self._is_to_end(stop):
            self._await_last_gradients()
        self._topology.call("finish")
        status = self._report()
        if self._unwritten is not None:
            raise _without_metrics(self._unwritten, status)
        if status.failure:
            raise (UnreachableRunError if status.passing else TrainingError)(status.failure)
        if self._unheard is not None:
            raise self._unheard
        if status.finished and not status.samples:
            raise _useless(self._plan.run, status, self._last_note)
        seconds = time.monotonic() - began
        return TrainingReport(
            run=self._plan.run,
            step=status.step,
            samples=status.samples,
            resumed_at=self._began_at,
            seconds=seconds,
            images_per_second=(status.samples - first.samples) / max(seconds, 1e-9),
            counts=status.counts,
            interrupted=not status.finished,
        )

    def _is_to_end(self, stop: threading.Event) -> bool:
        return stop.is_set() or self._unwritten is not None or self._unheard is not None

    def _fill_up_workers(self) -> None:
        """At first, after deaths, and for records that were taken back when the other workers had
        already run out of work and ended."""
        while len(self._topology.workers) < self._plan.config.topology.workers:
            self._topology.call("worker_started", self._topology.start_worker())

    def _bury_workers(self, status: CoordinatorStatus, first: CoordinatorStatus) -> None:
        """Waits a moment for workers to end, and has what they held dealt to others.

        Raises:
            Exception: what a worker raised before any had finished an update: then it is not one
                worker that is in trouble, and the next would not fare better.
        """
        if status.silent_workers and not self._topology.shards_answer():
            self._topology.call("excuse_silence")
        else:
            for worker in status.silent_workers:
                self._topology.kill_worker(worker)
        for end in self._topology.ended_workers(_POLL_SECONDS):
            if end.error is not None and status.step == first.step:
                raise end.error
            self._topology.call("worker_ended", end.worker, end.death)

    def _await_last_gradients(self) -> None:
        """Lets workers end by themselves, but not for long: a preempted machine has seconds."""
        self._topology.call("stop")
        deadline = time.monotonic() + _GRACE_SECONDS
        while self._topology.workers and time.monotonic() < deadline:
            for end in self._topology.ended_workers(_POLL_SECONDS):
                self._topology.call("worker_ended", end.worker, end.death)

    def _take_notes(self) -> list[str]:
        notes, self._notes = self._notes, []
        return notes

    def _log(self, rows: list[MetricsRow]) -> None:
        try:
            self._metrics.append(rows)
        except OSError as error:
            if self._unwritten is None:
                self._unwritten = error
                self._notes.append(f"{reason_of(error)}; saving, then training ends")

    def _tell(self, progress: TrainingProgress) -> None:
        """Nothing more to who raised once."""
        if self._unheard is None:
            try:
                self._on_progress(progress)
            except Exception as error:  # Raised when all is saved.
                self._unheard = error

    def _report(self) -> CoordinatorStatus:
        self._topology.ping()
        status = self._topology.status()
        self._silences.note(status)
        self._last_note = status.notes[-1] if status.notes else self._last_note
        self._log(status.rows)
        self._row = status.rows[-1] if status.rows else self._row
        self._tell(
            TrainingProgress(
                step=status.step,
                updates=status.step - self._began_at,
                settled=status.done,
                total=self._total,
                epoch=status.settled / self._records,
                workers=len(self._topology.workers),
                row=self._row,
                saved=status.saved,
                notes=[*self._take_notes(), *status.notes],
                processes=self._topology.places(status.applied),
            )
        )
        return status
