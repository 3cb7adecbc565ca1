"""The stage `export`."""

from pathlib import Path

from manylabel.pipeline.champion import meant_checkpoint
from manylabel.pipeline.quiet import quiet_imports
from manylabel.trainer.runs.directory import open_run


def export_run(place: Path, output: Path, step: int | None, top_k: int) -> Path:
    """Exports a checkpoint and returns the SavedModel's directory.

    Args:
        place: A run; or a folder of runs, whose champion is exported.

    Raises:
        CommandError: a step was named beside a folder, or its champion is not what was promoted.
        TrainingError: there is neither a run nor a champion.
    """
    run, step = meant_checkpoint(place, step)
    open_run(run)  # Its error comes before the seconds that TensorFlow takes to load.
    with quiet_imports():
        from manylabel.deploy.export import export
    return export(run, output, step=step, top_k=top_k)
