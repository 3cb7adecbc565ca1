"""Holds two evaluations against each other: how much they differ, by what, and on which labels."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from manylabel.eval.config import MetricForm
from manylabel.eval.review.checks import checks_of
from manylabel.eval.review.forms import FormResult, class_form, image_form
from manylabel.eval.review.model import (
    IMAGES_SCHEMA,
    LABELS_SCHEMA,
    Check,
    ImageCounts,
    Review,
    Reviewed,
)
from manylabel.eval.review.pair import Evaluated, Pair, choose_pair
from manylabel.eval.review.sides import Sides, read_sides
from manylabel.eval.statistics.bands import BANDS, band_of
from manylabel.eval.store.evaluations import evaluated_steps
from manylabel.eval.store.names import EvaluationName
from manylabel.storage.dataset import Dataset
from manylabel.storage.errors import StorageError

LISTED_IMAGES = 200
"""Of those that differ most: as many as somebody looks at."""


@dataclass(frozen=True, eq=False)
class ReviewTables:
    """A review and the tables beside it: LABELS_SCHEMA and IMAGES_SCHEMA."""

    review: Review
    labels: pa.Table
    images: pa.Table


def build_review(
    root: Path,
    candidate: EvaluationName,
    reference: EvaluationName,
    settings: str | None = None,
    *,
    margin: float = 0.0,
    form: MetricForm | None = None,
    facts: Sequence[Check] = (),
) -> ReviewTables:
    """Reviews a checkpoint of a run below `root` against another.

    Args:
        settings: Name of the settings of both evaluations, or its beginning; None: the newest that
            both have.
        margin: The least difference of weighted MAP@k that matters, 0 or more.
        form: Of the headline and the checks; None: as the candidate's settings say.
        facts: Further checks, of what the evaluations do not tell.

    Raises:
        EvaluationError: there is no such evaluation, or one of its files is missing or damaged.
        NotComparable: they are of other held-out images or other settings.
    """
    places = [(root / each.run, each.step) for each in (candidate, reference)]
    return review_pair(choose_pair(places[0], places[1], settings), margin, form, facts)


def review_pair(
    pair: Pair,
    margin: float = 0.0,
    form: MetricForm | None = None,
    facts: Sequence[Check] = (),
) -> ReviewTables:
    """Reviews two evaluations, wherever their runs lie; otherwise as `build_review`."""
    sides = read_sides(pair)
    bands = band_of(sides.labels.column("train_count").to_numpy())
    results = {
        MetricForm.IMAGE: image_form(pair, sides, bands, margin),
        MetricForm.CLASS: class_form(pair, sides, bands, margin),
    }
    form = form or pair.candidate.summary.config.form
    reviewed = reviewed_of(pair.candidate)
    change = sides.candidate.image_values - sides.reference.image_values
    counted = ~np.isnan(change)
    review = Review(
        candidate=reviewed,
        reference=reviewed_of(pair.reference),
        form=form,
        margin=margin,
        forms={each: result.review for each, result in results.items()},
        images=ImageCounts(
            better=int(np.count_nonzero(change > 0)),
            worse=int(np.count_nonzero(change < 0)),
            equal=int(np.count_nonzero(change == 0)),
        ),
        groups=len(np.unique(sides.groups[counted])),
        checks=(*checks_of(results[form].review, margin, reviewed), *facts),
        looked_at=len(evaluated_steps(pair.candidate.run_dir, reviewed.settings)),
    )
    return ReviewTables(
        review, _labels_table(sides, bands, results), _images_table(pair, sides, change)
    )


def reviewed_of(evaluated: Evaluated) -> Reviewed:
    """What a review says of one of its two sides."""
    summary = evaluated.summary
    return Reviewed(
        run=evaluated.run_dir.name,
        step=summary.provenance.step,
        samples=summary.provenance.samples,
        settings=summary.settings,
        checkpoint_digest=summary.provenance.checkpoint_digest,
        dataset_digest=summary.dataset.content_digest,
        evaluated_at=summary.provenance.evaluated_at,
        k=summary.config.k,
        weights=summary.config.weights.kind,
    )


def _labels_table(
    sides: Sides, bands: NDArray[np.int64], results: dict[MetricForm, FormResult]
) -> pa.Table:
    columns = {name: sides.labels.column(name) for name in sides.labels.column_names} | {
        "band": pa.array([BANDS[place].name for place in bands], pa.string()),
        "candidate_average_precision": _nullable(sides.candidate.average_precision),
        "reference_average_precision": _nullable(sides.reference.average_precision),
    }
    for form, result in results.items():
        columns[f"{form}_contribution"] = result.contributions
        columns[f"{form}_p"] = _nullable(result.tests.p)
        columns[f"{form}_q"] = _nullable(result.tests.q)
    return pa.table([columns[name] for name in LABELS_SCHEMA.names], schema=LABELS_SCHEMA)


def _images_table(pair: Pair, sides: Sides, change: NDArray[np.float64]) -> pa.Table:
    differing = np.flatnonzero(np.nan_to_num(change))
    # Equal differences in the order of the images, so that the same ones are listed each time.
    rows = differing[np.argsort(-np.abs(change[differing]), kind="stable")][:LISTED_IMAGES]
    image_ids = _image_ids(pair)
    columns = [
        rows,
        [None if image_ids is None else image_ids[row] for row in rows],
        change[rows],
        sides.candidate.image_values[rows],
        sides.reference.image_values[rows],
    ]
    return pa.table(columns, schema=IMAGES_SCHEMA)


def _image_ids(pair: Pair) -> list[str] | None:
    """By image row; None where neither evaluation's dataset can be read: what is reviewed lies
    beside the runs, and a dataset may have been moved since."""
    for side in (pair.candidate, pair.reference):
        try:
            dataset = Dataset.open(side.summary.dataset.root)
            if dataset.content_digest == side.summary.dataset.content_digest:
                image_ids: list[str] = dataset.heldout_images().column("image_id").to_pylist()
                return image_ids
        except (StorageError, OSError, ImportError, ValueError):  # The last two: of fsspec.
            continue
    return None


def _nullable(values: NDArray[np.float64]) -> pa.Array:
    return pa.array(values, from_pandas=True)  # NaN becomes null
