"""The evaluations of a run on disk.

runs/<run>/evals/<step, 8 digits>/
  predictions.parquet       eval/store/predictions.py; serves all evaluations of the checkpoint
  <settings>/               eval/settings.py names it
    classes.parquet         CLASSES_SCHEMA
    summary.json            EvaluationSummary; written last: its presence means "complete"
"""

from collections.abc import Callable

import pyarrow as pa
from upath import UPath

from manylabel.eval.errors import EvaluationError
from manylabel.eval.store.summary import EvaluationSummary
from manylabel.storage.errors import DocumentError
from manylabel.storage.locations import Location
from manylabel.storage.tables import read_table, write_table

_EVALUATIONS = "evals"
_CLASSES = "classes.parquet"
_SUMMARY = "summary.json"

CLASSES_SCHEMA = pa.schema(
    [
        pa.field("class_id", pa.int64(), nullable=False),
        pa.field("name", pa.string(), nullable=False),
        pa.field("weight", pa.float64(), nullable=False),
        pa.field("train_count", pa.int64(), nullable=False),
        pa.field("heldout_count", pa.int64(), nullable=False),
        pa.field("hits", pa.int64(), nullable=False),
        pa.field("average_precision", pa.float64(), nullable=True),
        pa.field("baseline_average_precision", pa.float64(), nullable=True),
    ]
)
"""One row per class, `class_id` equal to the row number. `weight` sums to one; `hits` of the
`heldout_count` images that have the class hold it among their k best; average precision is null
for a class that no held-out image has."""


def predictions_path(run_dir: Location, step: int) -> UPath:
    return _step_directory(run_dir, step) / "predictions.parquet"


def evaluation_directory(run_dir: Location, step: int, settings: str) -> UPath:
    """Where the evaluation of a checkpoint with the settings of a name lies."""
    return _step_directory(run_dir, step) / settings


def write_evaluation(run_dir: Location, summary: EvaluationSummary, classes: pa.Table) -> UPath:
    """Writes classes.parquet, then summary.json; returns their directory."""
    directory = evaluation_directory(run_dir, summary.provenance.step, summary.settings)
    # A summary vouches for the table beside it: it goes first, and comes last.
    (directory / _SUMMARY).unlink(missing_ok=True)
    write_table(directory / _CLASSES, classes.cast(CLASSES_SCHEMA))
    summary.write(directory / _SUMMARY)
    return directory


def has_evaluation(run_dir: Location, step: int, settings: str) -> bool:
    """Whether there is a complete evaluation, readable or not."""
    directory = evaluation_directory(run_dir, step, settings)
    return all((directory / name).is_file() for name in (_SUMMARY, _CLASSES))


def read_summary(run_dir: Location, step: int, settings: str) -> EvaluationSummary:
    """The summary of a complete evaluation.

    Raises:
        EvaluationError: there is none.
        DocumentError: it is damaged or of another format version.
    """
    path = evaluation_directory(run_dir, step, settings) / _SUMMARY
    if not path.is_file():
        raise EvaluationError(f"{path}: no such evaluation; run `manylabel evaluate`")
    return EvaluationSummary.read(path)


def read_summaries(
    run_dir: Location, on_unreadable: Callable[[DocumentError], None]
) -> list[EvaluationSummary]:
    """All complete evaluations of a run, by ascending step and then by age; empty when none is.

    Args:
        on_unreadable: told of each summary that is damaged or of another format version.
    """
    summaries = []
    for path in sorted((UPath(run_dir) / _EVALUATIONS).glob(f"*/*/{_SUMMARY}")):
        try:
            summaries.append(EvaluationSummary.read(path))
        except DocumentError as error:
            on_unreadable(error)
    return sorted(summaries, key=lambda each: (each.provenance.step, each.provenance.evaluated_at))


def read_classes(run_dir: Location, step: int, settings: str) -> pa.Table:
    """The per-class results of a complete evaluation (CLASSES_SCHEMA)."""
    read_summary(run_dir, step, settings)
    return read_table(evaluation_directory(run_dir, step, settings) / _CLASSES, CLASSES_SCHEMA)


def forget_others(run_dir: Location, step: int, checkpoint_digest: str) -> None:
    """Deletes the evaluations of another checkpoint of the same step, which is no more: a resumed
    run has made the step again."""
    for path in _step_directory(run_dir, step).glob(f"*/{_SUMMARY}"):
        try:
            summary = EvaluationSummary.read(path)
        except DocumentError:  # Of what, cannot be said; its place is taken when it is made again.
            continue
        if summary.provenance.checkpoint_digest != checkpoint_digest:
            path.unlink()
            (path.parent / _CLASSES).unlink(missing_ok=True)


def _step_directory(run_dir: Location, step: int) -> UPath:
    return UPath(run_dir) / _EVALUATIONS / f"{step:08d}"
