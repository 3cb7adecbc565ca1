"""Reviews on disk.

<root>/reviews/<digest>/
  labels.parquet   LABELS_SCHEMA
  images.parquet   IMAGES_SCHEMA
  review.json      Review; written last: its presence means "complete"

A review follows from two evaluations: what is here can be removed and made again. Its directory's
name is `Review.digest`; when an evaluation is made anew, it has another.
"""

from pathlib import Path

import pyarrow as pa
from upath import UPath

from manylabel.eval.config import MetricForm
from manylabel.eval.errors import EvaluationError
from manylabel.eval.review.build import ReviewTables, reviewed_of
from manylabel.eval.review.model import IMAGES_SCHEMA, LABELS_SCHEMA, Review, review_digest
from manylabel.eval.review.pair import choose_pair
from manylabel.eval.store.names import EvaluationName
from manylabel.storage.errors import TableError
from manylabel.storage.locations import Location
from manylabel.storage.tables import read_table, write_table

_DIRECTORY = "reviews"
_REVIEW = "review.json"
_LABELS = "labels.parquet"
_IMAGES = "images.parquet"


def write_review(root: Path, tables: ReviewTables) -> Path:
    """Writes the tables, then review.json; returns their directory below `root`."""
    directory = root / _DIRECTORY / tables.review.digest
    write_table(directory / _LABELS, tables.labels)
    write_table(directory / _IMAGES, tables.images)
    tables.review.write(directory / _REVIEW)
    return directory


def find_review(
    root: Path,
    candidate: EvaluationName,
    reference: EvaluationName,
    settings: str | None = None,
    *,
    margin: float = 0.0,
    form: MetricForm | None = None,
) -> Path | None:
    """The directory of the review that `build_review` would make; None before it was written.

    Raises:
        EvaluationError, NotComparable: as `build_review`.
    """
    places = [(root / each.run, each.step) for each in (candidate, reference)]
    pair = choose_pair(places[0], places[1], settings)
    sides = [reviewed_of(each) for each in (pair.candidate, pair.reference)]
    digest = review_digest(sides[0], sides[1], form or pair.candidate.summary.config.form, margin)
    directory = root / _DIRECTORY / digest
    return directory if (directory / _REVIEW).is_file() else None


def read_review(directory: Location) -> Review:
    """What a review says.

    Raises:
        EvaluationError: there is none.
        DocumentError: it is damaged or of another format version.
    """
    path = UPath(directory) / _REVIEW
    if not path.is_file():
        raise EvaluationError(f"{path}: no such review; run `manylabel review RUN STEP`")
    return Review.read(path)


def read_review_labels(directory: Location) -> pa.Table:
    """Every label (LABELS_SCHEMA); raises EvaluationError, as `read_review_images`."""
    return _read(UPath(directory), _LABELS, LABELS_SCHEMA)


def read_review_images(directory: Location) -> pa.Table:
    """The images that differ most (IMAGES_SCHEMA).

    Raises:
        EvaluationError: it is missing or damaged; names the command that makes it again.
        DocumentError: so is the review beside it.
    """
    return _read(UPath(directory), _IMAGES, IMAGES_SCHEMA)


def _read(directory: UPath, name: str, schema: pa.Schema) -> pa.Table:
    try:
        return read_table(directory / name, schema)
    except TableError as error:
        review = read_review(directory)
        run = directory.parent.parent / review.candidate.run
        raise EvaluationError(
            f"{error}; run `manylabel review {run} {review.candidate.step} "
            f"--against {review.reference.name}`"
        ) from error
