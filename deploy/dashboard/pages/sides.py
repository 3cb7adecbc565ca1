"""The two evaluations of a view, opened: what Label and Image read."""

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from upath import UPath

from manylabel.deploy.dashboard import states
from manylabel.deploy.dashboard.errors import UNREADABLE, NotThere, Problems, Unreadable, one_line
from manylabel.deploy.dashboard.pages.compared import Compared, evaluated_settings
from manylabel.deploy.dashboard.reading import Store
from manylabel.deploy.dashboard.remedies import evaluate_command
from manylabel.eval.store.evaluations import evaluation_directory, read_summary
from manylabel.eval.store.names import EvaluationName
from manylabel.eval.store.summary import EvaluationSummary
from manylabel.storage.dataset import Dataset
from manylabel.storage.errors import DatasetError, TableError
from manylabel.storage.tables import opened_table

Wanted = Callable[[pa.RecordBatch], pa.BooleanArray]

_PIECE = 65_536  # Rows; a million of them take 40 MB whole.


@dataclass(frozen=True)
class Side:
    """One evaluation.

    Attributes:
        run_dir: Directory of its run.
        command: What makes it again.
        is_scored: Whether the predictions are another tool's.
    """

    name: EvaluationName
    run_dir: Path
    summary: EvaluationSummary
    command: str
    is_scored: bool

    def table(
        self, read: Callable[[Path, int, str], pa.Table], problems: Problems
    ) -> pa.Table | None:
        """One of its tables, by a reader of eval/store/evaluations.py; None: it cannot be read."""
        place = self.run_dir, self.name.step, self.summary.settings
        return problems.attempt(lambda: read(*place), self.command)

    def rows(
        self, name: str, columns: Sequence[str], wanted: Wanted, problems: Problems
    ) -> pa.Table | None:
        """Some rows and columns of its table NAME.parquet, read a piece at a time; None likewise.

        Args:
            wanted: Tells of a piece which rows are kept.
        """
        directory = evaluation_directory(self.run_dir, self.name.step, self.summary.settings)
        return problems.attempt(
            lambda: _rows(directory / f"{name}.parquet", columns, wanted), self.command
        )


@dataclass(frozen=True)
class Sides:
    """Both evaluations.

    Attributes:
        reference: None where there is nothing to compare with.
    """

    candidate: Side
    reference: Side | None

    @property
    def all(self) -> tuple[Side, ...]:
        return (self.candidate,) if self.reference is None else (self.candidate, self.reference)


def open_sides(store: Store, pair: Compared, problems: Problems) -> Sides:
    """Reads the summaries of the newest evaluations that both have.

    Without a reference that can be compared the candidate is shown alone, and the reason counted.

    Raises:
        NotThere: the candidate was not evaluated, or its summary cannot be read.
    """
    wanted = pair.view.text("settings") or ""
    own = evaluated_settings(store, pair.candidate, wanted)
    shared = own if pair.reference is None else _shared(store, pair, own, problems)
    try:
        candidate = open_side(store, pair.candidate, [*shared, *own][0])
    except UNREADABLE as error:
        raise Unreadable(one_line(error), evaluate_command(store, pair.candidate)) from error
    if pair.reference is None or not shared:
        return Sides(candidate, None)
    name = pair.reference
    reference = problems.attempt(
        lambda: open_side(store, name, shared[0]), evaluate_command(store, name)
    )
    if reference is not None:
        one, other = (each.summary.dataset.content_digest for each in (candidate, reference))
        if one != other:
            problems.add(
                f"{pair.candidate} and {name} are not comparable: they were evaluated on other "
                f"held-out images ({one[:12]} and {other[:12]})"
            )
            reference = None
    return Sides(candidate, reference)


def _shared(store: Store, pair: Compared, own: Sequence[str], problems: Problems) -> list[str]:
    """Settings that the reference was evaluated with as well, in the candidate's order."""
    assert pair.reference is not None
    command = evaluate_command(store, pair.reference)
    try:
        others = evaluated_settings(store, pair.reference, "")
    except NotThere as error:
        problems.add(error, command)
        return []
    shared = [each for each in own if each in others]
    if not shared:
        problems.add(
            f"{pair.candidate} and {pair.reference} are not comparable: they were evaluated with "
            f"other settings ({', '.join(own)} and {', '.join(others)})",
            command,
        )
    return shared


def open_side(store: Store, name: EvaluationName, settings: str) -> Side:
    """One evaluation.

    Raises:
        EvaluationError, StorageError: its summary is missing or cannot be read.
    """
    run_dir = store.root / name.run
    summary = read_summary(run_dir, name.step, settings)
    return Side(name, run_dir, summary, evaluate_command(store, name), store.is_scored(name.run))


def open_dataset(side: Side) -> Dataset:
    """The dataset that an evaluation was made on.

    Raises:
        StorageError: it is not where it was, is damaged, or has another content now.
    """
    reference = side.summary.dataset
    dataset = states.open_dataset(reference.root)
    if dataset.content_digest != reference.content_digest:
        raise DatasetError(
            f"{dataset.root}: expected the dataset that {side.name} was evaluated on "
            f"({reference.content_digest[:12]}), found another content "
            f"({dataset.content_digest[:12]})"
        )
    return dataset


def moved_command(side: Side) -> str:
    """What tells an evaluation where its dataset is now."""
    if side.is_scored:
        return side.command.replace(shlex.quote(side.summary.dataset.root), "DIR")
    return f"{side.command} --dataset DIR"


def predict_command(side: Side) -> str:
    """What makes its predictions again and keeps them."""
    return side.command if side.is_scored else f"{side.command} --set eval.keep_predictions=null"


def _rows(path: UPath, columns: Sequence[str], wanted: Wanted) -> pa.Table:
    with opened_table(path) as file:
        missing = set(columns) - set(file.schema_arrow.names)
        if missing:
            raise TableError(f"{path}: expected columns {list(columns)}, found no {min(missing)}")
        pieces = file.iter_batches(_PIECE, columns=list(columns), use_threads=False)
        kept = [piece.filter(wanted(piece)) for piece in pieces]
        schema = pa.schema([file.schema_arrow.field(column) for column in columns])
    return pa.Table.from_batches(kept, schema)
