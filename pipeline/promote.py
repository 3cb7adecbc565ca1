"""The stage `promote`: which checkpoint is the champion, decided on evidence."""

import datetime
import getpass
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from manylabel.eval.review.build import ReviewTables, build_review
from manylabel.eval.review.model import Check, Review
from manylabel.eval.review.store import write_review
from manylabel.eval.store.evaluations import read_summaries
from manylabel.eval.store.history import histories
from manylabel.eval.store.names import EvaluationName
from manylabel.eval.store.promotions import (
    Evidence,
    FormEvidence,
    PromotedCheckpoint,
    Promotion,
    newest_promotion,
    record_promotion,
)
from manylabel.pipeline.aftermath import write_history
from manylabel.pipeline.errors import CommandError
from manylabel.pipeline.events import OnEvent
from manylabel.storage.pins import KeepReason, keep
from manylabel.storage.provenance import code_version
from manylabel.trainer.runs.checkpoint import (
    CheckpointInfo,
    checkpoint_path,
    describe_checkpoint,
    kept,
    verify,
)
from manylabel.trainer.runs.directory import DESCRIPTION, check_origin, open_run


@dataclass(frozen=True)
class PromotionReport:
    """What was decided.

    Attributes:
        path: The record.
        review: What it rests on; None for the first champion.
    """

    promotion: Promotion
    path: Path
    review: Review | None


def promote(
    run: Path,
    step: int,
    reason: str,
    overridden: Sequence[str],
    on_event: OnEvent,
) -> PromotionReport:
    """Makes a checkpoint the champion of all runs beside it.

    It is reviewed against the champion before. The record is written when every check of the review
    is passed, or overridden by name.

    Args:
        reason: Why, for those who come later.
        overridden: Names of checks that may fail.

    Raises:
        CommandError: a check failed, no reason was given, or it is the champion already.
        EvaluationError: it has no evaluation, cannot be compared, or somebody else promoted
            meanwhile.
        TrainingError: there is no such run, or the checkpoint is damaged.
    """
    if not reason.strip():
        raise CommandError("--reason: expected why this checkpoint, received nothing")
    run = run.absolute()
    with _intact(run, step) as checkpoint:
        before = newest_promotion(run.parent)
        candidate = PromotedCheckpoint(run=run.name, step=step, checkpoint_digest=checkpoint.digest)
        if before is not None and before.candidate == candidate:
            raise CommandError(f"{candidate.name} is the champion already")
        tables = None
        if before is None:
            _check_evaluated(run, checkpoint)
        else:
            intact = Check(
                name="intact", passed=True, text="Every byte of the checkpoint is intact"
            )
            tables = build_review(run.parent, candidate.name, before.candidate.name, facts=[intact])
        review = None if tables is None else tables.review
        passed, failed = _sort_checks(review, overridden)
        # Pinned first: what is recorded may not be removed.
        keep(run, step, KeepReason.PROMOTED)
        promotion = Promotion(
            number=1 if before is None else before.number + 1,
            person=getpass.getuser(),
            decided_at=datetime.datetime.now(datetime.UTC),
            reason=reason.strip(),
            candidate=candidate,
            replaced=None if before is None else before.candidate,
            evidence=_evidence(run.parent, tables),
            checks_passed=passed,
            checks_overridden=failed,
            dataset_digest=checkpoint.dataset_digest,
            code_version=code_version(),
        )
        path = record_promotion(run.parent, promotion)
    for other in sorted(each.parent for each in run.parent.glob(f"*/{DESCRIPTION}")):
        for settings in histories(other):  # They show the differences from the champion.
            write_history(other, settings, on_event)
    return PromotionReport(promotion, path, review)


@contextmanager
def _intact(run: Path, step: int) -> Iterator[CheckpointInfo]:
    """The checkpoint, every byte of it read, and not removed meanwhile."""
    description = open_run(run)
    path = checkpoint_path(run, step)
    if not path.is_dir():
        raise CommandError(f"{path}: no such checkpoint; `manylabel runs {run.parent}` lists them")
    checkpoint = describe_checkpoint(path)
    check_origin(checkpoint, description)
    with kept([checkpoint]) as found:
        if not found:
            raise CommandError(f"{path}: was removed just now; choose another checkpoint")
        verify(path)
        yield checkpoint


def _check_evaluated(run: Path, checkpoint: CheckpointInfo) -> None:
    evaluated = {each.provenance.checkpoint_digest for each in read_summaries(run, lambda _: None)}
    if checkpoint.digest not in evaluated:
        raise CommandError(
            f"{EvaluationName(run.name, checkpoint.step)} has not been evaluated; run `manylabel "
            f"evaluate {run} --step {checkpoint.step}` first"
        )


def _sort_checks(
    review: Review | None, overridden: Sequence[str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of the checks that passed, and of those that failed and were overridden."""
    checks = () if review is None else review.checks
    if unknown := set(overridden) - {check.name for check in checks}:
        names = ", ".join(check.name for check in checks) or "none: it is the first champion"
        raise CommandError(
            f"--override {sorted(unknown)[0]}: expected the name of a check ({names})"
        )
    failed = [check for check in checks if not check.passed]
    left = [check for check in failed if check.name not in overridden]
    if left:
        options = " ".join(f"--override {check.name}" for check in left)
        raise CommandError(
            f"not promoted: {'; '.join(check.text for check in left)}; to promote all the same, "
            f"add {options}"
        )
    passed = tuple(check.name for check in checks if check.passed)
    return passed, tuple(check.name for check in failed)


def _evidence(root: Path, tables: ReviewTables | None) -> Evidence | None:
    if tables is None:
        return None
    review = tables.review
    keep(root / review.reference.run, review.reference.step, KeepReason.REVIEWED)
    return Evidence(
        review=write_review(root, tables).name,
        settings=review.candidate.settings,
        form=review.form,
        forms={
            form: FormEvidence(
                difference=each.difference.value,
                low=each.difference.low,
                high=each.difference.high,
                verdict=each.verdict,
            )
            for form, each in review.forms.items()
        },
    )
