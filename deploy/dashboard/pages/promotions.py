"""The promotions of a root, for its timeline."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from manylabel.deploy.dashboard import formats
from manylabel.deploy.dashboard.tables import Column, Table
from manylabel.deploy.dashboard.view import View
from manylabel.eval.config import MetricForm
from manylabel.eval.store.names import EvaluationName
from manylabel.eval.store.promotions import FormEvidence, Promotion

SHOWN = 8
"""Decisions in the timeline; the others are in promotions.csv."""


@dataclass(frozen=True)
class Decision:
    """A promotion as the timeline shows it.

    Attributes:
        css: Class of the evidence's colour.
        review: Address of the review of both checkpoints; None for the first.
    """

    number: int
    candidate: EvaluationName
    replaced: EvaluationName | None
    person: str
    decided_at: datetime
    reason: str
    evidence: FormEvidence | None
    css: str
    overridden: tuple[str, ...]
    review: str | None


def timeline(promotions: Sequence[Promotion], form: MetricForm, view: View) -> list[Decision]:
    """Newest first."""
    return [_decision(each, form, view) for each in reversed(promotions)]


def _decision(promotion: Promotion, form: MetricForm, view: View) -> Decision:
    candidate = promotion.candidate.name
    replaced = None if promotion.replaced is None else promotion.replaced.name
    evidence = None if promotion.evidence is None else promotion.evidence.forms.get(form)
    return Decision(
        number=promotion.number,
        candidate=candidate,
        replaced=replaced,
        person=promotion.person,
        decided_at=promotion.decided_at,
        reason=promotion.reason,
        evidence=evidence,
        css=_css(evidence),
        overridden=promotion.checks_overridden,
        review=None if replaced is None else view.to("/review", a=str(candidate), b=str(replaced)),
    )


def _css(evidence: FormEvidence | None) -> str:
    if evidence is None or evidence.low is None or evidence.high is None:
        return "quiet"
    return "gain" if evidence.low > 0 else "loss" if evidence.high < 0 else "quiet"


def promotions_table(promotions: Sequence[Promotion], form: MetricForm) -> Table:
    """All decisions as a file."""
    evidence = [each.evidence and each.evidence.forms.get(form) for each in promotions]
    replaced = [each.replaced and str(each.replaced.name) for each in promotions]

    def column(key: str, values: Sequence[object], form: str = "text") -> Column:
        return Column(key, key, values, form)

    return Table(
        "promotions",
        (
            column("number", [each.number for each in promotions], "count"),
            column("decided_at", [formats.moment_iso(each.decided_at) for each in promotions]),
            column("person", [each.person for each in promotions]),
            column("candidate", [str(each.candidate.name) for each in promotions]),
            column("replaced", replaced),
            column("reason", [each.reason for each in promotions]),
            column("form", [str(form)] * len(promotions)),
            column("difference", [each and each.difference for each in evidence], "difference"),
            column("low", [each and each.low for each in evidence], "difference"),
            column("high", [each and each.high for each in evidence], "difference"),
            column("verdict", [each and each.verdict for each in evidence]),
            column("overridden", [", ".join(each.checks_overridden) for each in promotions]),
        ),
        order="-number",
        caption="Promotions",
        noun="promotions",
        follows_address=False,
    )
