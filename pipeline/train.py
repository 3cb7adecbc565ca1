"""The stage `train`."""

from pathlib import Path

from rich.console import Console

from manylabel.pipeline.config import Settings
from manylabel.pipeline.errors import Interrupted
from manylabel.pipeline.progress import ProgressDisplay, progress_display
from manylabel.pipeline.quiet import quiet_imports
from manylabel.storage.dataset import Dataset
from manylabel.trainer.job import TrainingProgress, train


def train_with(
    settings: Settings, dataset: str, run: Path, address: str | None, console: Console
) -> None:
    """Trains a run to its end, from its newest checkpoint if it has one; says how it went.

    Raises:
        Interrupted: it was told to stop; its state is saved.
    """
    Dataset.open(dataset)  # Its errors come before the seconds that TensorFlow takes to load.
    with quiet_imports():
        import manylabel.trainer.program.initial_state  # noqa: F401
    with progress_display("train", console) as display:
        report = train(
            settings.trainer,
            dataset,
            run,
            address=address,
            settings=settings.model_dump(mode="json"),
            on_progress=lambda progress: _show(progress, display),
        )
    if report.interrupted:
        raise Interrupted(
            f"stopped at step {report.step:,}, saved; the same command goes on from there"
        )
    begin = f" (resumed at step {report.resumed_at:,})" if report.resumed_at else ""
    console.print(
        f"{run}: {report.step:,} updates, {report.samples:,} images{begin}, "
        f"{report.images_per_second:.0f} images/s",
        markup=False,
        highlight=False,
    )


def _show(progress: TrainingProgress, display: ProgressDisplay) -> None:
    for note in progress.notes:
        display.line(note)
    display.update(progress.settled, progress.total, _note(progress))


def _note(progress: TrainingProgress) -> str:
    row = progress.row
    if row is None:
        return "workers are starting"
    return (
        f"{row.images_per_second:.0f} images/s  loss {row.loss:.3f}  "
        f"rate {row.learning_rate:.2g}  staleness {row.staleness:.1f}  {progress.workers} workers"
    )
