"""The command `export`."""

from pathlib import Path

from rich.console import Console

from manylabel.pipeline.quiet import quiet_imports
from manylabel.trainer.runs.directory import open_run


def export_run(run: Path, output: Path, step: int | None, top_k: int, console: Console) -> None:
    """Exports a checkpoint of a run and says where the model is."""
    open_run(run)  # Its error comes before the seconds that TensorFlow takes to load.
    with quiet_imports():
        from manylabel.deploy.export import export
    directory = export(run, output, step=step, top_k=top_k)
    console.print(f"exported to {directory}", markup=False, highlight=False)
