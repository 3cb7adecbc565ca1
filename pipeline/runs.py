"""The command `runs`: what runs there are and how far each has come."""

import datetime
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from manylabel.eval.errors import EvaluationError
from manylabel.eval.store import read_summaries
from manylabel.pipeline.errors import CommandError
from manylabel.pipeline.tables import ratio_text
from manylabel.trainer.errors import TrainingError
from manylabel.trainer.runs.checkpoint import list_checkpoints
from manylabel.trainer.runs.directory import DESCRIPTION, open_run


def show_runs(root: Path, console: Console) -> None:
    """A table of the runs directly under `root`, newest first.

    Raises:
        CommandError: `root` is no folder.
    """
    if not root.is_dir():
        raise CommandError(f"{root}: expected a folder of runs, found none; name it: runs ROOT")
    runs = [path.parent for path in root.glob(f"*/{DESCRIPTION}")]
    if not runs:
        console.print(
            f"{root}: no runs yet; manylabel train makes one", markup=False, highlight=False
        )
        return
    table = Table(box=SIMPLE_HEAD, padding=0, pad_edge=False)
    table.add_column("run", overflow="fold", min_width=10)
    for name in ("begun", "classes", "step", "evaluated\nstep", "weighted\nMAP"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("×\nbaseline", justify="right", no_wrap=True)
    table.add_column("weights", no_wrap=True)
    problems: list[str] = []
    for run in sorted(runs, key=_begun, reverse=True):
        table.add_row(*_cells(run, problems))
    console.print(table)
    for problem in problems:
        console.print(f"? {problem}", markup=False, highlight=False, soft_wrap=True)


def _begun(run: Path) -> datetime.datetime:
    try:
        return open_run(run).created
    except TrainingError:  # Its row says so, below all others.
        return datetime.datetime.min.replace(tzinfo=datetime.UTC)


def _cells(run: Path, problems: list[str]) -> list[str]:
    """The run's row; what cannot be read is "?" there, and its problem is added to `problems`."""
    cells = [escape(run.name)]
    for read, columns in ((_description, 2), (_training, 1), (_evaluation, 4)):
        try:
            cells += read(run) or ["–"] * columns
        except (TrainingError, EvaluationError) as error:
            cells += ["?"] * columns
            problems.append(str(error))
    return cells


def _description(run: Path) -> list[str]:
    description = open_run(run)
    return [f"{description.created.astimezone():%Y-%m-%d}", f"{description.num_classes:,}"]


def _training(run: Path) -> list[str]:
    return [f"{checkpoint.step:,}" for checkpoint in list_checkpoints(run)[-1:]]


def _evaluation(run: Path) -> list[str]:
    summaries = read_summaries(run)
    if not summaries:
        return []
    newest = summaries[-1]
    return [
        f"{newest.provenance.step:,}",
        f"{newest.headline:.4f}",
        ratio_text(newest),
        newest.config.weights.kind.removeprefix(
            "training_"
        ),  # As much as 80 columns have room for.
    ]
