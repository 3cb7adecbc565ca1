"""The stage `export`."""

from pathlib import Path

from manylabel.pipeline.quiet import quiet_imports
from manylabel.trainer.runs.directory import open_run


def export_run(run: Path, output: Path, step: int | None, top_k: int) -> Path:
    """Exports a checkpoint of a run and returns the SavedModel's directory."""
    open_run(run)  # Its error comes before the seconds that TensorFlow takes to load.
    with quiet_imports():
        from manylabel.deploy.export import export
    return export(run, output, step=step, top_k=top_k)
