"""The stage `export`."""

from pathlib import Path

from manylabel.pipeline.champion import meant_checkpoint
from manylabel.pipeline.events import LOADING, Doing, OnEvent, long_work
from manylabel.pipeline.job_status import StatusWriter
from manylabel.pipeline.quiet import quiet_imports
from manylabel.pipeline.stopping import told_to_stop_with
from manylabel.storage.jobs import JobStage
from manylabel.trainer.runs.directory import open_run


def export_run(
    place: Path,
    output: Path,
    step: int | None,
    top_k: int,
    on_event: OnEvent = lambda event: None,
) -> Path:
    """Exports a checkpoint and returns the SavedModel's directory.

    Args:
        place: A run; or a folder of runs, whose champion is exported.

    Raises:
        CommandError: a step was named beside a folder, or its champion is not what was promoted.
        TrainingError: there is neither a run nor a champion.
        Interrupted: it was told to stop; there is nothing of the export.
    """
    run, step = meant_checkpoint(place, step)
    open_run(run)  # Its error comes before the seconds that TensorFlow takes to load.
    with (
        told_to_stop_with("stopped, and nothing is written; the same command begins anew"),
        StatusWriter(run, JobStage.EXPORT, on_event) as status,
        long_work("export", on_event),
    ):
        on_event(Doing(LOADING))
        status.begin(LOADING)
        with quiet_imports():
            from manylabel.deploy.export import export
            from manylabel.trainer.predict import gpus_held
        on_event(Doing("writing the model"))
        status.begin("exporting", gpus=gpus_held())
        return export(run, output, step=step, top_k=top_k)
