"""The stage `train`."""

from dataclasses import replace
from pathlib import Path

from manylabel.pipeline.config import Settings
from manylabel.pipeline.errors import Interrupted
from manylabel.pipeline.events import Doing, LineTold, OnEvent, TrainingProgressed, long_work
from manylabel.pipeline.job_status import StatusWriter
from manylabel.pipeline.stopping import told_to_stop_with
from manylabel.storage.dataset import Dataset
from manylabel.storage.jobs import JobStage
from manylabel.trainer.config import TrainerConfig
from manylabel.trainer.job import train
from manylabel.trainer.reports import TrainingReport
from manylabel.trainer.runs.directory import is_described

_BETWEEN_UPDATES = "stopped between updates; the same command goes on from what is saved"
_BEFORE_TRAINING = "stopped before training began; the same command begins anew"


def train_with(
    settings: Settings | TrainerConfig,
    dataset: str,
    run: Path,
    address: str | None,
    on_event: OnEvent,
) -> TrainingReport:
    """Trains a run to its end, from its newest checkpoint if it has one.

    Args:
        settings: all of them, to be stored with the run; or those of training alone.

    Raises:
        Interrupted: it was told to stop; its state is saved.
    """
    Dataset.open(dataset)  # Its errors come before a display is opened.
    with (
        # Before workers are at work and after: while they are, a signal is how training ends.
        told_to_stop_with(lambda: _BETWEEN_UPDATES if is_described(run) else _BEFORE_TRAINING),
        StatusWriter(run, JobStage.TRAIN, on_event) as status,
        long_work("train", on_event),
    ):
        report = train(
            settings.trainer if isinstance(settings, Settings) else settings,
            dataset,
            run,
            address=address,
            settings=settings.model_dump(mode="json") if isinstance(settings, Settings) else None,
            on_progress=lambda progress: status.on_event(TrainingProgressed(progress)),
            on_doing=lambda what: on_event(Doing(what)),
            on_line=lambda line: on_event(LineTold(line)),
        )
        if report.interrupted:
            raise Interrupted(
                f"stopped at step {report.step:,}, saved; the same command goes on from there"
            )
    return replace(report, run=run)  # As the user named it, for messages.
