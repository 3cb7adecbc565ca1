"""The evaluations of a run on disk.

runs/<run>/evals/<step, 8 digits>/
  predictions.parquet       eval/store/predictions.py; serves all evaluations of the checkpoint
  predictions.dropped.txt   in its place, why it is no more
  <settings>/               eval/settings.py names it
    classes.parquet         CLASSES_SCHEMA
    images.parquet          IMAGES_SCHEMA
    positives.parquet       POSITIVES_SCHEMA
    parts.parquet           PARTS_SCHEMA
    summary.json            EvaluationSummary; written last: its presence means "complete"
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from shlex import quote

import pyarrow as pa
from upath import UPath

from manylabel.eval.errors import EvaluationError
from manylabel.eval.store.summary import EvaluationSummary
from manylabel.storage.atomic import replacing
from manylabel.storage.errors import DocumentError, TableError
from manylabel.storage.locations import Location
from manylabel.storage.tables import read_rows_of, read_table, write_table

_EVALUATIONS = "evals"
_SUMMARY = "summary.json"
_PREDICTIONS = "predictions.parquet"
_DROPPED = "predictions.dropped.txt"
ROWS_PER_GROUP = 8192
"""Rows of a table, sorted by class, that are read to get at one class."""

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
        pa.field("contribution", pa.float64(), nullable=False),
        pa.field("image_contribution", pa.float64(), nullable=False),
    ]
)
"""One row per class, `class_id` equal to the row number. `weight` sums to one; `hits` of the
`heldout_count` images that have the class hold it among their k best; average precision is null
for a class that no held-out image has. `contribution` is the class's part of the weighted MAP in
class form, `image_contribution` in image form: each column sums to it."""

IMAGES_SCHEMA = pa.schema(
    [
        pa.field("image_row", pa.int64(), nullable=False),
        pa.field("near_duplicate_group", pa.int64(), nullable=False),
        pa.field("labels", pa.int64(), nullable=False),
        pa.field("label_weight", pa.float64(), nullable=False),
        pa.field("average_precision", pa.float64(), nullable=True),
        pa.field("weighted_average_precision", pa.float64(), nullable=True),
    ]
)
"""One row per held-out image, as in the dataset's heldout_images.parquet. `label_weight`: sum of
the weights of its labels. Average precisions are of its ranking, null for an image without labels;
the weighted one also for an image whose labels weigh nothing. Their means are the image form's
MAPs."""

POSITIVES_SCHEMA = pa.schema(
    [
        pa.field("class_id", pa.int32(), nullable=False),
        pa.field("image_row", pa.int32(), nullable=False),
        pa.field("rank", pa.int32(), nullable=True),
        pa.field("gain", pa.float64(), nullable=False),
        pa.field("class_gain", pa.float64(), nullable=False),
        pa.field("score", pa.float32(), nullable=True),
    ]
)
"""One row per label of a held-out image, by class and image. `rank` in the image's ranking, from 1;
null, as `score`, where it is not among the k best. `gain`: precision at that rank; `class_gain`:
precision at the image's place in the class's ranking of images; both 0 where it was not found."""

PARTS_SCHEMA = pa.schema(
    [
        pa.field("part", pa.int64(), nullable=False),
        pa.field("weighted_map_class", pa.float64(), nullable=False),
        pa.field("bands", pa.list_(pa.float64()), nullable=False),
    ]
)
"""The class form without one part of the images at a time, for the jackknife; `bands` are the
contributions of labels by their training images (`statistics.bands.BANDS`) and sum to it."""


@dataclass(frozen=True, eq=False)
class EvaluationTables:
    """What stands beside a summary; each attribute is a file NAME.parquet."""

    classes: pa.Table
    images: pa.Table
    positives: pa.Table
    parts: pa.Table


_SCHEMAS = {
    "classes": CLASSES_SCHEMA,
    "images": IMAGES_SCHEMA,
    "positives": POSITIVES_SCHEMA,
    "parts": PARTS_SCHEMA,
}
_NAMES = [field.name for field in fields(EvaluationTables)]


def predictions_path(run_dir: Location, step: int) -> UPath:
    return step_directory(run_dir, step) / _PREDICTIONS


def steps_with_predictions(run_dir: Location) -> list[int]:
    """Steps whose predictions are kept, ascending."""
    paths = (UPath(run_dir) / _EVALUATIONS).glob(f"*/{_PREDICTIONS}")
    return sorted(int(path.parent.name) for path in paths if path.parent.name.isdigit())


def drop_predictions(run_dir: Location, step: int, why: str) -> None:
    """Removes predictions.parquet and says so in its place."""
    path = predictions_path(run_dir, step)
    with replacing(path.with_name(_DROPPED)) as file:
        file.write(f"{why}\n".encode())
    path.unlink(missing_ok=True)


def why_dropped(run_dir: Location, step: int) -> str | None:
    """Why a checkpoint's predictions are gone; None: they are there, or never were."""
    path = step_directory(run_dir, step) / _DROPPED
    if predictions_path(run_dir, step).is_file():
        return None
    return path.read_text("utf-8").strip() if path.is_file() else None


def evaluation_directory(run_dir: Location, step: int, settings: str) -> UPath:
    """Where the evaluation of a checkpoint with the settings of a name lies."""
    return step_directory(run_dir, step) / settings


def step_directory(run_dir: Location, step: int) -> UPath:
    """Where all evaluations of a checkpoint lie."""
    return UPath(run_dir) / _EVALUATIONS / f"{step:08d}"


def write_evaluation(
    run_dir: Location, summary: EvaluationSummary, tables: EvaluationTables
) -> UPath:
    """Writes the tables, then summary.json; returns their directory."""
    directory = evaluation_directory(run_dir, summary.provenance.step, summary.settings)
    written = {name: getattr(tables, name).cast(_SCHEMAS[name]) for name in _NAMES}
    # A summary vouches for the tables beside it: it goes first, and comes last.
    (directory / _SUMMARY).unlink(missing_ok=True)
    for name, table in written.items():
        write_table(_path(directory, name), table, row_group_size=ROWS_PER_GROUP)
    summary.write(directory / _SUMMARY)
    return directory


def has_evaluation(run_dir: Location, step: int, settings: str) -> bool:
    """Whether there is a complete evaluation, readable or not."""
    directory = evaluation_directory(run_dir, step, settings)
    paths = [directory / _SUMMARY, *(_path(directory, name) for name in _NAMES)]
    return all(path.is_file() for path in paths)


def evaluated_steps(run_dir: Location, settings: str = "*") -> list[int]:
    """Steps with a complete evaluation, readable or not, ascending.

    Args:
        settings: Name of the settings, or a glob pattern of names.
    """
    paths = (UPath(run_dir) / _EVALUATIONS).glob(f"*/{settings}/{_SUMMARY}")
    return sorted({int(path.parts[-3]) for path in paths if path.parts[-3].isdigit()})


def read_summary(run_dir: Location, step: int, settings: str) -> EvaluationSummary:
    """The summary of a complete evaluation.

    Raises:
        EvaluationError: there is none.
        DocumentError: it is damaged or of another format version.
    """
    return EvaluationSummary.read(_complete(run_dir, step, settings) / _SUMMARY)


def read_evaluation(run_dir: Location, step: int, settings: str) -> EvaluationSummary:
    """As `read_summary`, when every byte of the tables beside it can be read as well.

    Raises:
        TableError: one of them is missing or damaged.
    """
    for name in _NAMES:
        _read(run_dir, step, settings, name)
    return read_summary(run_dir, step, settings)


def read_summaries(
    run_dir: Location, on_unreadable: Callable[[DocumentError], None], step: int | None = None
) -> list[EvaluationSummary]:
    """All complete evaluations of a run, by ascending step and then by age; empty when none is.

    Args:
        on_unreadable: told of each summary that is damaged or of another format version.
        step: Of one checkpoint only.
    """
    summaries = []
    steps = "*" if step is None else f"{step:08d}"
    for path in sorted((UPath(run_dir) / _EVALUATIONS).glob(f"{steps}/*/{_SUMMARY}")):
        try:
            summaries.append(EvaluationSummary.read(path))
        except DocumentError as error:
            on_unreadable(error)
    return sorted(summaries, key=lambda each: (each.provenance.step, each.provenance.evaluated_at))


def read_classes(run_dir: Location, step: int, settings: str) -> pa.Table:
    """The per-class results of a complete evaluation (CLASSES_SCHEMA).

    Raises:
        EvaluationError: there is none.
        TableError: the file is missing or damaged.
    """
    return _read(run_dir, step, settings, "classes")


def read_images(run_dir: Location, step: int, settings: str) -> pa.Table:
    """The per-image results (IMAGES_SCHEMA); raises as `read_classes`."""
    return _read(run_dir, step, settings, "images")


def read_parts(run_dir: Location, step: int, settings: str) -> pa.Table:
    """The class form's jackknife (PARTS_SCHEMA); raises as `read_classes`."""
    return _read(run_dir, step, settings, "parts")


def read_positives(
    run_dir: Location, step: int, settings: str, class_id: int | None = None
) -> pa.Table:
    """The results of each label of each image (POSITIVES_SCHEMA), or of one class.

    Raises as `read_classes`.
    """
    if class_id is None:
        return _read(run_dir, step, settings, "positives")
    path = _path(_complete(run_dir, step, settings), "positives")
    with _remedy(run_dir, step):
        return read_rows_of(path, POSITIVES_SCHEMA, "class_id", class_id)


def forget_others(run_dir: Location, step: int, checkpoint_digest: str) -> None:
    """Deletes the evaluations of another checkpoint of the same step, which is no more: a resumed
    run has made the step again."""
    for path in step_directory(run_dir, step).glob(f"*/{_SUMMARY}"):
        try:
            summary = EvaluationSummary.read(path)
        except DocumentError:  # Of what, cannot be said; its place is taken when it is made again.
            continue
        if summary.provenance.checkpoint_digest != checkpoint_digest:
            path.unlink()
            for name in _NAMES:
                _path(path.parent, name).unlink(missing_ok=True)


def _read(run_dir: Location, step: int, settings: str, name: str) -> pa.Table:
    path = _path(_complete(run_dir, step, settings), name)
    with _remedy(run_dir, step):
        return read_table(path, _SCHEMAS[name])


@contextmanager
def _remedy(run_dir: Location, step: int) -> Iterator[None]:
    """Says of a damaged table what makes it again."""
    try:
        yield
    except TableError as error:
        raise TableError(
            f"{error}; `manylabel evaluate {quote(str(run_dir))} --step {step}` makes it again"
        ) from error


def _complete(run_dir: Location, step: int, settings: str) -> UPath:
    """The directory of an evaluation whose summary vouches for the tables beside it."""
    directory = evaluation_directory(run_dir, step, settings)
    if not (directory / _SUMMARY).is_file():
        raise EvaluationError(
            f"{directory / _SUMMARY}: no such evaluation; run `manylabel evaluate`"
        )
    return directory


def _path(directory: UPath, name: str) -> UPath:
    return directory / f"{name}.parquet"
