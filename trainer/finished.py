"""Runs that there is nothing to do for, found before any process is started."""

from pathlib import Path

from manylabel.storage.dataset import Dataset
from manylabel.storage.schema import SplitName
from manylabel.trainer.config import TrainerConfig
from manylabel.trainer.errors import CheckpointError, TrainingError
from manylabel.trainer.plane.failures import FailureCounts
from manylabel.trainer.program.plan import check_stream, total_records
from manylabel.trainer.records.ledger import RecordLedger
from manylabel.trainer.reports import TrainingReport
from manylabel.trainer.runs.checkpoint import finished_checkpoints, read_manifest
from manylabel.trainer.runs.directory import check_run, is_described
from manylabel.trainer.runs.resume import checkpoint_to_resume
from manylabel.trainer.runs.sole_job import sole_training_job


def check_there_is_work(dataset: Dataset, config: TrainerConfig) -> None:
    """Raises TrainingError where no record is to be read, however long one trains."""
    records = dataset.records(SplitName.TRAIN)
    if records == 0:
        raise TrainingError(f"{dataset.root}: the training split is empty")
    if total_records(dataset, config) == 0:
        raise TrainingError(
            f"trainer.epochs = {config.epochs:g}: of the {records:,} records of {dataset.root} "
            f"that is none; set it to {1 / records:.2g} at least"
        )


def finished_before(run: Path, dataset: Dataset, config: TrainerConfig) -> TrainingReport | None:
    """The report on a run with nothing left to do, before anything is started; None for others.

    Raises:
        TrainingError: it cannot be of this dataset or these settings; or it ended without any
            update.
    """
    checkpoints = finished_checkpoints(run) if is_described(run) else []
    total = total_records(dataset, config)
    try:
        manifest = read_manifest(checkpoints[-1]) if checkpoints else None
    except CheckpointError:  # Told when the run goes on.
        return None
    if manifest is None or not RecordLedger.restore(manifest.ledger, total, 1).finished:
        return None
    with sole_training_job(run):
        check_run(run, dataset, config)
        check_stream(checkpoints[-1], manifest.stream, dataset, config.input)
        if checkpoint_to_resume(run) != checkpoints[-1]:
            return None
    if not manifest.samples:
        raise TrainingError(
            f"{run}: its records are all done, and none of them made an update; train another run, "
            "on a dataset whose records can be read"
        )
    return TrainingReport(
        run=run,
        step=manifest.step,
        samples=manifest.samples,
        resumed_at=manifest.step,
        seconds=0.0,
        images_per_second=0.0,
        counts=FailureCounts(),
        interrupted=False,
        was_finished=True,
    )
