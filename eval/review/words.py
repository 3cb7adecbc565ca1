"""A verdict as a sentence."""

from manylabel.eval.review.model import FormReview
from manylabel.eval.statistics.differences import Verdict

_MINUS = "\N{MINUS SIGN}"


def sentence(form: FormReview, margin: float) -> str:
    """E.g. "Better by +0.0096, 95% interval +0.0065 to +0.0127"."""
    difference = form.difference
    if difference.low is None or difference.high is None:
        return (
            f"Not shown: {signed(difference.value)}, without an interval: too few images "
            "are held out"
        )
    ends = f"{signed(difference.low)} to {signed(difference.high)}"
    match form.verdict:
        case Verdict.BETTER:
            return f"Better by {signed(difference.value)}, 95% interval {ends}"
        case Verdict.WORSE:
            return f"Worse by {signed(difference.value)}, 95% interval {ends}"
        case Verdict.EQUAL:
            return f"Equal within {margin:g}: {signed(difference.value)}, 95% interval {ends}"
        case Verdict.NOT_SHOWN:
            return f"Not shown: between {signed(difference.low)} and {signed(difference.high)}"


def signed(value: float, decimals: int = 4) -> str:
    """With its sign, a true minus, and none where rounding leaves nothing: +0.0096, 0.0000."""
    text = f"{abs(value):.{decimals}f}"
    if float(text) == 0:
        return text
    return f"{_MINUS if value < 0 else '+'}{text}"
