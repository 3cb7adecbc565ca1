"""The command `export`."""

from pathlib import Path

from rich.console import Console

from deploy.export import export
from trainer.run_directory import open_run


def export_run(run: Path, output: Path, step: int | None, console: Console) -> None:
    """Exports a checkpoint of a run and says where the model is."""
    open_run(run)
    console.print(f"exported to {export(run, output, step=step)}", highlight=False)
