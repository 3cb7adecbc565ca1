"""The evaluations of a run on disk.

runs/<run>/evals/<step, 8 digits>/
  predictions.parquet     eval/predictions.py
  classes.parquet         CLASSES_SCHEMA
  summary.json            EvaluationSummary; written last: its presence means "complete"
"""

import pyarrow as pa
from pydantic import ValidationError
from upath import UPath

from manylabel.eval.errors import EvaluationError
from manylabel.eval.summary import SUMMARY_FORMAT_VERSION, EvaluationSummary
from manylabel.storage.atomic import replace_text
from manylabel.storage.locations import Location
from manylabel.storage.tables import read_table, write_table

CLASSES_SCHEMA = pa.schema(
    [
        pa.field("id", pa.int64(), nullable=False),
        pa.field("name", pa.string(), nullable=False),
        pa.field("weight", pa.float64(), nullable=False),
        pa.field("train_count", pa.int64(), nullable=False),
        pa.field("heldout_count", pa.int64(), nullable=False),
        pa.field("hits", pa.int64(), nullable=False),
        pa.field("average_precision", pa.float64(), nullable=True),
        pa.field("baseline_average_precision", pa.float64(), nullable=True),
    ]
)
"""One row per class, `id` equal to the row number. `weight` sums to one; `hits` of the
`heldout_count` images that have the class hold it among their k best; average precision is null
for a class that no held-out image has."""


def evaluations_directory(run_dir: Location) -> UPath:
    return UPath(run_dir) / "evals"


def evaluation_directory(run_dir: Location, step: int) -> UPath:
    """Where the evaluation of a checkpoint lies."""
    return evaluations_directory(run_dir) / f"{step:08d}"


def predictions_path(run_dir: Location, step: int) -> UPath:
    return evaluation_directory(run_dir, step) / "predictions.parquet"


def summary_path(run_dir: Location, step: int) -> UPath:
    return evaluation_directory(run_dir, step) / "summary.json"


def write_evaluation(run_dir: Location, summary: EvaluationSummary, classes: pa.Table) -> UPath:
    """Writes classes.parquet, then summary.json; returns their directory."""
    directory = evaluation_directory(run_dir, summary.provenance.step)
    write_table(directory / "classes.parquet", classes.cast(CLASSES_SCHEMA))
    replace_text(
        summary_path(run_dir, summary.provenance.step), summary.model_dump_json(indent=2) + "\n"
    )
    return directory


def read_summary(run_dir: Location, step: int) -> EvaluationSummary:
    """Raises EvaluationError when there is no complete evaluation of the step, or an unreadable."""
    path = summary_path(run_dir, step)
    if not path.is_file():
        raise EvaluationError(f"{path}: no such evaluation; run `manylabel evaluate`")
    return _parse(path)


def read_summaries(run_dir: Location) -> list[EvaluationSummary]:
    """All complete evaluations of a run by ascending step; empty when there is none.

    Raises:
        EvaluationError: a summary is damaged or of another version.
    """
    directory = evaluations_directory(run_dir)
    if not directory.is_dir():
        return []
    summaries = [_parse(path) for path in directory.glob("*/summary.json")]
    return sorted(summaries, key=lambda summary: summary.provenance.step)


def read_classes(run_dir: Location, step: int) -> pa.Table:
    """The per-class results of a complete evaluation (CLASSES_SCHEMA)."""
    read_summary(run_dir, step)
    return read_table(evaluation_directory(run_dir, step) / "classes.parquet")


def _parse(path: UPath) -> EvaluationSummary:
    try:
        summary = EvaluationSummary.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise EvaluationError(
            f"{path}: not an evaluation summary ({place}: {first['msg']}); evaluate again"
        ) from error
    if summary.format_version != SUMMARY_FORMAT_VERSION:
        raise EvaluationError(
            f"{path}: expected format version {SUMMARY_FORMAT_VERSION}, received "
            f"{summary.format_version}; evaluate again"
        )
    return summary
