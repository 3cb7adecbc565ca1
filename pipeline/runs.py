"""What runs there are and how far each has come."""

import datetime
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from manylabel.eval.store.evaluations import read_summaries
from manylabel.eval.store.summary import EvaluationSummary
from manylabel.pipeline.errors import CommandError
from manylabel.storage.errors import StorageError
from manylabel.trainer.errors import TrainingError
from manylabel.trainer.runs.checkpoint import CheckpointInfo, list_checkpoints
from manylabel.trainer.runs.directory import DESCRIPTION, RunDescription, open_run

_T = TypeVar("_T")


@dataclass(frozen=True)
class Unreadable:
    """Stands for what could not be read, and says why."""

    problem: str


@dataclass(frozen=True)
class ListedRun:
    """A run as its files tell it.

    Attributes:
        name: Of its directory.
        checkpoint: The newest; None before the first.
        evaluation: The newest that can be read; None if there is none.
        problems: Of evaluations that cannot be read.
    """

    name: str
    description: RunDescription | Unreadable
    checkpoint: CheckpointInfo | Unreadable | None
    evaluation: EvaluationSummary | Unreadable | None
    problems: tuple[str, ...]


def list_runs(root: Path) -> list[ListedRun]:
    """The runs directly under `root`, newest first, those of unknown age last.

    Raises:
        CommandError: `root` is no folder.
    """
    if not root.is_dir():
        raise CommandError(
            f"{root}: expected a folder of runs, found none; name it: manylabel runs ROOT"
        )
    runs = [_listed(path.parent) for path in root.glob(f"*/{DESCRIPTION}")]
    return sorted(runs, key=_begun, reverse=True)


def problems_of(run: ListedRun) -> list[str]:
    """Why some of a run could not be read; empty if all could."""
    parts = (run.description, run.checkpoint)
    return [*(part.problem for part in parts if isinstance(part, Unreadable)), *run.problems]


def _listed(run: Path) -> ListedRun:
    problems: list[str] = []
    newest = _newest(read_summaries(run, lambda error: problems.append(str(error))))
    return ListedRun(
        name=run.name,
        description=_read(open_run, run),
        checkpoint=_read(lambda run: _newest(list_checkpoints(run)), run),
        evaluation=Unreadable(problems[-1]) if problems and newest is None else newest,
        problems=tuple(problems),
    )


def _read(read: Callable[[Path], _T], run: Path) -> _T | Unreadable:
    try:
        return read(run)
    except (StorageError, TrainingError) as error:
        return Unreadable(str(error))


def _newest(oldest_first: list[_T]) -> _T | None:
    return oldest_first[-1] if oldest_first else None


def _begun(run: ListedRun) -> datetime.datetime:
    if isinstance(run.description, Unreadable):
        return datetime.datetime.min.replace(tzinfo=datetime.UTC)
    return run.description.created
