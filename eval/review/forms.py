"""The difference of two evaluations in each form of the weighted MAP@k, taken apart."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from manylabel.eval.config import MetricForm
from manylabel.eval.review.model import FormReview, LabelCounts
from manylabel.eval.review.pair import Evaluated, Pair
from manylabel.eval.review.sides import Sides
from manylabel.eval.statistics.bands import BANDS, BandDifference, image_bands, part_bands
from manylabel.eval.statistics.class_labels import class_label_tests
from manylabel.eval.statistics.differences import (
    Difference,
    image_difference,
    part_difference,
    verdict,
)
from manylabel.eval.statistics.estimates import Estimate
from manylabel.eval.statistics.labels import (
    LabelTests,
    class_contributions,
    image_contributions,
    image_label_differences,
    label_tests,
)


@dataclass(frozen=True, eq=False)
class FormResult:
    """One form.

    Attributes:
        review: What the review says of it.
        contributions: float64 [C], of each label; they add up to the difference.
        tests: Of each label.
    """

    review: FormReview
    contributions: NDArray[np.float64]
    tests: LabelTests


def image_form(pair: Pair, sides: Sides, bands: NDArray[np.int64], margin: float) -> FormResult:
    """Paired over images, near-duplicates counting as one.

    Args:
        bands: int64 [C], from `band_of`.
        margin: The least difference that matters.
    """
    one, other = sides.candidate, sides.reference
    class_ids, image_rows, groups = sides.class_ids, sides.image_rows, sides.groups
    counted = ~np.isnan(one.image_values)
    weights = sides.labels.column("weight").to_numpy()
    differences = image_label_differences(
        class_ids, image_rows, one.gains, other.gains, weights, sides.label_weight
    )
    tests = label_tests(class_ids, image_rows, differences, groups, len(weights))
    return FormResult(
        review=_form_review(
            pair,
            MetricForm.IMAGE,
            image_difference(one.image_values, other.image_values, groups),
            image_bands(class_ids, image_rows, differences, bands, groups, counted),
            tests,
            margin,
        ),
        contributions=image_contributions(
            class_ids, differences, len(weights), int(np.count_nonzero(counted))
        ),
        tests=tests,
    )


def class_form(pair: Pair, sides: Sides, bands: NDArray[np.int64], margin: float) -> FormResult:
    """By the jackknife over parts of the images; otherwise as `image_form`."""
    one, other = sides.candidate, sides.reference
    weights = sides.labels.column("weight").to_numpy()
    present = sides.labels.column("heldout_count").to_numpy() > 0
    tests = class_label_tests(
        sides.class_ids,
        sides.image_rows,
        one.class_gains,
        other.class_gains,
        sides.groups,
        len(weights),
    )
    values = [each.summary.scores.weighted_map_class for each in (pair.candidate, pair.reference)]
    by_band: list[NDArray[np.float64]] = [
        np.bincount(bands, each.contributions, len(BANDS)).astype(np.float64)
        for each in (one, other)
    ]
    return FormResult(
        review=_form_review(
            pair,
            MetricForm.CLASS,
            part_difference(values[0], values[1], one.parts, other.parts),
            part_bands(
                by_band[0],
                by_band[1],
                one.part_bands,
                other.part_bands,
                np.bincount(bands[present], minlength=len(BANDS)),
            ),
            tests,
            margin,
        ),
        contributions=class_contributions(one.average_precision, other.average_precision, weights),
        tests=tests,
    )


def _form_review(
    pair: Pair,
    form: MetricForm,
    difference: Difference,
    bands: Sequence[BandDifference],
    tests: LabelTests,
    margin: float,
) -> FormReview:
    return FormReview(
        candidate=_estimate(pair.candidate, form),
        reference=_estimate(pair.reference, form),
        candidate_baseline=pair.candidate.summary.baseline.weighted_map(form),
        difference=difference,
        verdict=verdict(difference, margin),
        bands=tuple(bands),
        labels=LabelCounts(
            testable=tests.testable,
            too_few=tests.too_few,
            shown_better=tests.shown_better,
            shown_worse=tests.shown_worse,
        ),
    )


def _estimate(evaluated: Evaluated, form: MetricForm) -> Estimate:
    headline = evaluated.summary.headline_of(form)
    interval = headline.interval
    return Estimate(headline.value, interval.standard_error, interval.low, interval.high)
