"""The command `runs`: what runs there are and how far each has come."""

from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from eval.store import read_summaries
from pipeline.errors import CommandError
from pipeline.tables import ratio_text
from trainer.checkpoint import list_checkpoints
from trainer.run_directory import DESCRIPTION, open_run


def show_runs(root: Path, console: Console) -> None:
    """A table of the runs directly under `root`, newest first.

    Raises:
        CommandError: `root` is no folder.
    """
    if not root.is_dir():
        raise CommandError(f"{root}: expected a folder of runs, found none; name it: runs ROOT")
    runs = [path.parent for path in root.glob(f"*/{DESCRIPTION}")]
    if not runs:
        console.print(f"{root}: no runs yet; manylabel train makes one", highlight=False)
        return
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("run", overflow="fold", min_width=12)
    for name in ("begun", "classes", "step", "samples", "evaluated\nstep", "weighted\nMAP"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("×\nbaseline", justify="right", no_wrap=True)
    for run in sorted(runs, key=lambda run: open_run(run).created, reverse=True):
        table.add_row(*_cells(run))
    console.print(table)


def _cells(run: Path) -> list[str]:
    description = open_run(run)
    cells = [
        run.name,
        f"{description.created.astimezone():%Y-%m-%d}",
        f"{description.num_classes:,}",
    ]
    checkpoints, summaries = list_checkpoints(run), read_summaries(run)
    if checkpoints:
        cells += [f"{checkpoints[-1].step:,}", f"{checkpoints[-1].samples:,}"]
    else:
        cells += ["–"] * 2
    if summaries:
        newest = summaries[-1]
        cells += [f"{newest.provenance.step:,}", f"{newest.headline:.4f}", ratio_text(newest)]
    else:
        cells += ["–"] * 3
    return cells
