"""The sentence of a verdict."""

import pytest

from manylabel.eval.review.model import FormReview, LabelCounts
from manylabel.eval.review.words import sentence, signed
from manylabel.eval.statistics.differences import Difference, verdict
from manylabel.eval.statistics.estimates import Estimate

NO_LABELS = LabelCounts(testable=0, too_few=0, shown_better=0, shown_worse=0)


@pytest.mark.parametrize(
    ("value", "low", "high", "margin", "text"),
    [
        (0.0096, 0.0065, 0.0127, 0, "Better by +0.0096, 95% interval +0.0065 to +0.0127"),
        (-0.0096, -0.0127, -0.0065, 0, "Worse by −0.0096, 95% interval −0.0127 to −0.0065"),
        (0.001, -0.002, 0.004, 0, "Not shown: between −0.0020 and +0.0040"),
        (0.0096, 0.0065, 0.0127, 0.007, "Not shown: between +0.0065 and +0.0127"),
        (
            0.001,
            -0.002,
            0.004,
            0.005,
            "Equal within 0.005: +0.0010, 95% interval −0.0020 to +0.0040",
        ),
        (0.0, 0.0, 0.0, 0, "Not shown: between 0.0000 and 0.0000"),
        (
            0.01,
            None,
            None,
            0,
            "Not shown: +0.0100, without an interval: too few images are held out",
        ),
    ],
)
def test_a_verdict_in_words(value, low, high, margin, text):
    difference = Difference(value, None, low, high, 0.5)
    nothing = Estimate(0.0, None, None, None)
    form = FormReview(
        candidate=nothing,
        reference=nothing,
        candidate_baseline=0.0,
        difference=difference,
        verdict=verdict(difference, margin),
        bands=(),
        labels=NO_LABELS,
    )
    assert sentence(form, margin) == text


@pytest.mark.parametrize(
    ("value", "decimals", "text"),
    [(0.00004, 4, "0.0000"), (-0.00004, 4, "0.0000"), (-0.00006, 4, "−0.0001"), (1.5, 1, "+1.5")],
)
def test_signs(value, decimals, text):
    assert signed(value, decimals) == text
