"""A run's evaluations over its training, side by side: derived, and rebuilt by every evaluation.

runs/<run>/history/<settings>/
  evaluations.parquet       EVALUATIONS_SCHEMA; its metadata names the champion it is held against
  classes.parquet           CLASS_HISTORY_SCHEMA
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

import pyarrow as pa

from manylabel.eval.config import MetricForm
from manylabel.eval.store.evaluations import ROWS_PER_GROUP, evaluated_steps
from manylabel.eval.store.names import EvaluationName
from manylabel.storage.errors import TableError
from manylabel.storage.tables import read_rows_of, read_table, write_table

_DIRECTORY = "history"
_EVALUATIONS = "evaluations.parquet"
_CLASSES = "classes.parquet"
_CHAMPION_KEY = b"manylabel.champion"


def _form_fields(form: MetricForm) -> list[pa.Field]:
    return [
        pa.field(f"{form}_value", pa.float64(), nullable=False),
        *(
            pa.field(f"{form}_{name}", pa.float64(), nullable=True)
            for name in ("standard_error", "low", "high")
        ),
        pa.field(f"{form}_baseline", pa.float64(), nullable=False),
        pa.field(f"{form}_undistinguished", pa.bool_(), nullable=False),
        *(
            pa.field(f"{form}_champion_{name}", pa.float64(), nullable=True)
            for name in ("difference", "low", "high")
        ),
    ]


EVALUATIONS_SCHEMA = pa.schema(
    [
        pa.field("step", pa.int64(), nullable=False),
        pa.field("samples", pa.int64(), nullable=False),
        pa.field("evaluated_at", pa.timestamp("us", "UTC"), nullable=False),
        pa.field("checkpoint_digest", pa.string(), nullable=False),
        pa.field("dataset_digest", pa.string(), nullable=False),
        pa.field("k", pa.int64(), nullable=False),
        pa.field("heldout_images", pa.int64(), nullable=False),
        pa.field("recall", pa.float64(), nullable=False),
        pa.field("bands", pa.list_(pa.float64()), nullable=False),
        pa.field("baseline_bands", pa.list_(pa.float64()), nullable=False),
        *_form_fields(MetricForm.IMAGE),
        *_form_fields(MetricForm.CLASS),
    ]
)
"""One row an evaluation, by step. `FORM_undistinguished`: cannot be told from the run's best;
`FORM_champion_*`: difference from the champion with the ends of its 95% interval, null where there
is none or it cannot be compared. `bands`: weighted mean of the average precisions of the labels in
each of `statistics.bands.BANDS`, null for a band without held-out labels."""

CLASS_HISTORY_SCHEMA = pa.schema(
    [
        pa.field("class_id", pa.int32(), nullable=False),
        pa.field("step", pa.int64(), nullable=False),
        pa.field("average_precision", pa.float64(), nullable=False),
        pa.field("hits", pa.int64(), nullable=False),
        pa.field("heldout_count", pa.int64(), nullable=False),
    ]
)
"""One row an evaluation of a class that held-out images have, by class and step."""


@dataclass(frozen=True, eq=False)
class History:
    """A run's evaluations with the same settings.

    Attributes:
        evaluations: EVALUATIONS_SCHEMA.
        champion: What the differences are from; None: there was no champion.
        missing: Steps that have been evaluated but are not in it.
    """

    evaluations: pa.Table
    champion: EvaluationName | None
    missing: tuple[int, ...]


def history_directory(run_dir: Path, settings: str) -> Path:
    """Where the history of a run's evaluations with the settings of a name lies."""
    return run_dir / _DIRECTORY / settings


def write_history(
    run_dir: Path,
    settings: str,
    evaluations: pa.Table,
    classes: pa.Table,
    champion: EvaluationName | None,
) -> None:
    """Replaces a history: EVALUATIONS_SCHEMA and CLASS_HISTORY_SCHEMA, and the champion that the
    differences are from."""
    directory = history_directory(run_dir, settings)
    metadata = {_CHAMPION_KEY: str(champion or "")}
    write_table(directory / _CLASSES, classes, row_group_size=ROWS_PER_GROUP)
    write_table(directory / _EVALUATIONS, evaluations.replace_schema_metadata(metadata))


def histories(run_dir: Path) -> list[str]:
    """Names of the settings that a run has a history of, sorted."""
    paths = (run_dir / _DIRECTORY).glob(f"*/{_EVALUATIONS}")
    return sorted(path.parent.name for path in paths)


def read_history(run_dir: Path, settings: str) -> History:
    """A run's evaluations.

    Raises:
        TableError: the history is missing or damaged; the error says what rebuilds it.
    """
    path = history_directory(run_dir, settings) / _EVALUATIONS
    with _remedy(run_dir):
        table = read_table(path, EVALUATIONS_SCHEMA)
    name = (table.schema.metadata or {}).get(_CHAMPION_KEY, b"").decode()
    missing = set(evaluated_steps(run_dir, settings)) - set(table.column("step").to_pylist())
    champion = EvaluationName.parse(name) if name else None
    return History(table, champion, tuple(sorted(missing)))


def read_label_history(run_dir: Path, settings: str, class_id: int) -> pa.Table:
    """The evaluations of one class (CLASS_HISTORY_SCHEMA); raises as `read_history`."""
    path = history_directory(run_dir, settings) / _CLASSES
    with _remedy(run_dir):
        return read_rows_of(path, CLASS_HISTORY_SCHEMA, "class_id", class_id)


@contextmanager
def _remedy(run_dir: Path) -> Iterator[None]:
    """Says of a damaged table what makes it again."""
    try:
        yield
    except TableError as error:
        raise TableError(
            f"{error}; `manylabel evaluate {quote(str(run_dir))} --step new` makes it again"
        ) from error
