"""What a review says, in words and charts: the same on its page and in the report file."""

from dataclasses import dataclass

from manylabel.deploy.dashboard import formats
from manylabel.deploy.dashboard.charts.differences import ForestRow, forest, shares
from manylabel.deploy.dashboard.charts.svg import Chart
from manylabel.eval.config import MetricForm
from manylabel.eval.review.model import SHOWN_P, FormReview, Review
from manylabel.eval.statistics.differences import Verdict


@dataclass(frozen=True)
class Told:
    """What a review says in one form, in words.

    Attributes:
        verdict: "Better by +0.0096".
        interval: "95% interval +0.0065 to +0.0127"; "" where there is none or the verdict has it.
        metric: "weighted MAP@100 (class form)".
        values: Of candidate and reference, "0.1910 against 0.1815".
        basis: What the interval is over.
    """

    verdict: str
    interval: str
    metric: str
    values: str
    basis: str


def told(review: Review, form: MetricForm) -> Told:
    """The headline of a review, for the page and the report."""
    result = review.forms[form]
    images = formats.plural(review.images.counted, "image")
    how = "" if form is MetricForm.IMAGE else ", by jackknife"
    groups = formats.plural(review.groups, "near-duplicate group")
    values = [formats.map_value(each.value) for each in (result.candidate, result.reference)]
    return Told(
        verdict=verdict_of(result, review.margin),
        interval=_interval_of(result),
        metric=f"weighted MAP@{review.candidate.k} ({form} form)",
        values=" against ".join(values),
        basis=f"paired over {images} in {groups}{how}",
    )


def verdict_of(result: FormReview, margin: float) -> str:
    """The verdict in few words; a true minus, and never a better or worse that is not shown."""
    difference = result.difference
    if difference.low is None or difference.high is None:
        return "Not shown: too few images for an interval"
    if difference.value == difference.low == difference.high == 0:
        return "Not shown: no difference"
    match result.verdict:
        case Verdict.BETTER:
            return f"Better by {formats.difference(difference.value)}"
        case Verdict.WORSE:
            return f"Worse by {formats.difference(difference.value)}"
        case Verdict.EQUAL:
            return f"Equal within {margin:g}"
        case Verdict.NOT_SHOWN:
            ends = [formats.difference(end) for end in (difference.low, difference.high)]
            return f"Not shown: between {ends[0]} and {ends[1]}"


def charts_of(review: Review, form: MetricForm) -> tuple[Chart, Chart, Chart]:
    """Where the difference comes from, both forms beside each other, and the images."""
    result = review.forms[form]
    rows = [
        ForestRow(
            each.band.name,
            each.difference,
            each.p_holm <= SHOWN_P,
            formats.plural(each.labels, "label"),
        )
        for each in result.bands
    ]
    total = ForestRow("all labels", result.difference, _is_shown(result), total=True)
    forms = [
        ForestRow(f"{each} form", of.difference, _is_shown(of)) for each, of in review.forms.items()
    ]
    images = review.images
    return (
        forest("bands", "Which labels the difference comes from", [*rows, total]),
        forest("forms", "In both forms of the metric", sorted(forms, key=lambda row: row.name)),
        shares("images", "Images better and worse", images.better, images.equal, images.worse),
    )


def _is_shown(result: FormReview) -> bool:
    return result.verdict in (Verdict.BETTER, Verdict.WORSE)


def _interval_of(result: FormReview) -> str:
    difference = result.difference
    ends = formats.interval(difference.low, difference.high, formats.difference)
    if difference.low is None:
        return f"difference {formats.difference(difference.value)}"
    if difference.value == difference.low == difference.high == 0:
        return f"95% interval {ends}"
    if result.verdict is Verdict.NOT_SHOWN:
        return f"difference {formats.difference(difference.value)}, 95% interval"
    return f"95% interval {ends}"
