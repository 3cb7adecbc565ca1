"""What a promotion asks of a review."""

from collections.abc import Sequence

from manylabel.eval.review.model import Check, FormReview, Reviewed
from manylabel.eval.review.words import sentence
from manylabel.eval.statistics.differences import Verdict
from manylabel.eval.statistics.labels import MINIMUM_GROUPS

_DIGITS = 12


def checks_of(headline: FormReview, margin: float, reviewed: Reviewed) -> tuple[Check, ...]:
    """The checks that follow from the headline's form.

    Args:
        headline: In the form that counts.
        margin: The least difference that matters.
        reviewed: The candidate, whose dataset and settings are the reference's as well.
    """
    worse = headline.bands_shown_worse
    labels = headline.labels
    return (
        Check(
            name="difference",
            passed=headline.verdict is Verdict.BETTER,
            text=sentence(headline, margin),
        ),
        Check(
            name="bands",
            passed=not worse,
            text=_of_bands([each.band.name for each in worse], len(headline.bands)),
        ),
        Check(
            name="labels",
            passed=not labels.shown_worse,
            text=f"{labels.shown_worse:,} labels shown to be worse (false discovery rate 10%), of "
            f"{labels.testable:,} with at least {MINIMUM_GROUPS} images, near-duplicates counting "
            f"once; {labels.too_few:,} labels have too few to tell",
        ),
        Check(
            name="comparable",
            passed=True,  # Or there would be no review.
            text=f"Same dataset, weights and metric as the reference (dataset "
            f"{reviewed.dataset_digest[:_DIGITS]}, settings {reviewed.settings})",
        ),
    )


def _of_bands(worse: Sequence[str], bands: int) -> str:
    if not worse:
        return "No frequency band shown to be worse"
    return f"{len(worse)} of {bands} frequency bands shown to be worse: {', '.join(worse)}"
