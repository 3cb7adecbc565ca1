"""Which checkpoint is the champion, and every decision that made one.

<root>/promotions/00000001.json, 00000002.json, …: never edited; the newest one names the champion.
"""

import re
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from manylabel.eval.config import MetricForm
from manylabel.eval.errors import EvaluationError
from manylabel.eval.store.names import EvaluationName
from manylabel.storage.atomic import create
from manylabel.storage.documents import Document
from manylabel.storage.errors import DocumentError
from manylabel.storage.locations import PathBelow

_DIRECTORY = "promotions"
_NAME = re.compile(r"[0-9]{8}\.json")


class _Stored(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PromotedCheckpoint(_Stored):
    """A checkpoint of a run below the root, and what it is."""

    run: PathBelow
    step: int
    checkpoint_digest: str

    @property
    def name(self) -> EvaluationName:
        return EvaluationName(self.run, self.step)


class FormEvidence(_Stored):
    """What the review says in one form of the metric; the ends are of the 95% interval."""

    difference: float
    low: float | None
    high: float | None
    verdict: str


class Evidence(_Stored):
    """The review that a promotion rests on.

    Attributes:
        review: Name of its directory below `reviews/`.
        settings: Of both evaluations.
        form: The headline's.
        forms: What it says in each.
    """

    review: PathBelow
    settings: PathBelow
    form: MetricForm
    forms: dict[MetricForm, FormEvidence]


class Promotion(Document):
    """One decision.

    Attributes:
        number: From 1; also the file's name.
        person: Who decided.
        reason: Why, in their words.
        candidate: The champion from now on.
        replaced: The champion before; None for the first.
        evidence: None for the first, which there is nothing to compare with.
        checks_passed, checks_overridden: Names of the review's checks.
        dataset_digest: Content of the dataset that the candidate was trained and judged on.
        code_version: Of the code that wrote this.
    """

    NOUN: ClassVar[str] = "a promotion"
    REMEDY: ClassVar[str] = "put back a copy of the file, or use the version that wrote it"

    format_version: Literal[1] = 1
    action: Literal["promote"] = "promote"
    number: int
    person: str
    decided_at: datetime
    reason: str
    candidate: PromotedCheckpoint
    replaced: PromotedCheckpoint | None
    evidence: Evidence | None
    checks_passed: tuple[str, ...]
    checks_overridden: tuple[str, ...]
    dataset_digest: str
    code_version: str


def read_promotions(root: Path, on_unreadable: Callable[[DocumentError], None]) -> list[Promotion]:
    """All decisions below a root, oldest first; empty when none was made.

    Args:
        on_unreadable: told of each file that is damaged or of another format version.
    """
    promotions = []
    for path in _files(root):
        try:
            promotions.append(Promotion.read(path))
        except DocumentError as error:
            on_unreadable(error)
    return promotions


def newest_promotion(root: Path) -> Promotion | None:
    """The decision that names the champion; None before the first.

    Raises:
        DocumentError: it is damaged: an earlier one is no champion.
    """
    files = _files(root)
    return Promotion.read(files[-1]) if files else None


def record_promotion(root: Path, promotion: Promotion) -> Path:
    """Writes a decision; its number must be the next one.

    Raises:
        EvaluationError: somebody else has promoted meanwhile.
    """
    path = root / _DIRECTORY / f"{promotion.number:08d}.json"
    if not create(path, promotion.to_bytes()):
        other = Promotion.read(path)
        raise EvaluationError(
            f"{path}: {other.person} has promoted {other.candidate.name} meanwhile; look at it, "
            "then promote again"
        )
    return path


def _files(root: Path) -> list[Path]:
    # An editor's backup, 00000001~.json, would come last and be the champion.
    found = (root / _DIRECTORY).glob("*.json")
    return sorted(path for path in found if _NAME.fullmatch(path.name))
