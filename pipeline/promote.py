"""The stage `promote`: which checkpoint is the champion, decided on evidence."""

import datetime
import getpass
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

from manylabel.eval.errors import EvaluationError
from manylabel.eval.review.build import ReviewTables, review_pair
from manylabel.eval.review.model import Review
from manylabel.eval.review.pair import choose_pair
from manylabel.eval.review.store import write_review
from manylabel.eval.store.evaluations import read_summaries
from manylabel.eval.store.history import histories
from manylabel.eval.store.names import EvaluationName
from manylabel.eval.store.promotions import (
    Evidence,
    PromotedCheckpoint,
    Promotion,
    newest_promotion,
    record_promotion,
)
from manylabel.pipeline.after_evaluation import write_history
from manylabel.pipeline.errors import CommandError
from manylabel.pipeline.events import OnEvent, ResultUnreadable
from manylabel.pipeline.review import checkpoint_check, settings_of_pair
from manylabel.storage.errors import StorageError
from manylabel.storage.pins import KeepReason, keep, pinned
from manylabel.storage.provenance import code_version
from manylabel.storage.usable_paths import is_text
from manylabel.trainer.runs.checkpoint import (
    CheckpointInfo,
    checkpoint_path,
    describe_checkpoint,
    kept,
    list_checkpoints,
    verify,
)
from manylabel.trainer.runs.directory import check_origin, open_run

NO_REVIEW = "review"
"""Stands among the overridden checks where a candidate could not be compared with the champion."""


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
    settings: str | None = None,
) -> PromotionReport:
    """Makes a checkpoint the champion of all runs beside it.

    It is reviewed against the champion before. The record is written when every check of the review
    is passed, or overridden by name. Where there can be no review (the champion was removed, or
    learnt from another dataset), that has to be overridden as well.

    Args:
        reason: Why, for those who come later.
        overridden: Names of checks that may fail.
        settings: Name of the settings of both evaluations, or its beginning; None: the run's own.

    Raises:
        CommandError: a check failed, no reason was given, it is the champion already, has no
            evaluation, or cannot be compared.
        EvaluationError: somebody else promoted meanwhile.
        TrainingError: there is no such run, or the checkpoint is damaged.
    """
    if not reason.strip():
        raise CommandError("--reason: expected why this checkpoint, received nothing")
    if not is_text(reason):
        raise CommandError("--reason: expected text in UTF-8, received other bytes")
    run, person = Path(os.path.abspath(run)), _person()  # ".." is no name of a run.
    with _intact(run, step) as checkpoint:
        before = newest_promotion(run.parent)
        candidate = PromotedCheckpoint(run=run.name, step=step, checkpoint_digest=checkpoint.digest)
        if before is not None and before.candidate == candidate:
            raise CommandError(f"{candidate.name} is the champion already")
        _check_evaluated(run, checkpoint)
        tables = None
        if before is not None and NO_REVIEW not in overridden:
            tables = _review(run, checkpoint, before, settings)
        passed, failed = _sort_checks(tables, before, overridden)
        promotion = Promotion(
            number=1 if before is None else before.number + 1,
            person=person,
            decided_at=datetime.datetime.now(datetime.UTC),
            reason=reason.strip(),
            candidate=candidate,
            replaced=None if before is None else before.candidate,
            evidence=None if tables is None else _evidence(run.parent, tables),
            checks_passed=passed,
            checks_overridden=failed,
            dataset_digest=checkpoint.dataset_digest,
            code_version=code_version(),
        )
        # Pinned first: what is recorded may not be removed.
        with pinned(run, step, KeepReason.PROMOTED):
            path = record_promotion(run.parent, promotion)
    _renew_histories(run.parent, on_event)
    return PromotionReport(promotion, path, None if tables is None else tables.review)


def _person() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # A container's user need not have a name.
        return f"uid {os.getuid()}"


def _renew_histories(root: Path, on_event: OnEvent) -> None:
    """They show the differences from the champion; none that fails undoes what was decided."""
    for run in root.iterdir():
        for settings in histories(run):
            try:
                write_history(run, settings, on_event)
            except (OSError, StorageError, EvaluationError) as error:
                on_event(ResultUnreadable(None, f"{run}: its history was not renewed: {error}"))


def _review(
    run: Path, checkpoint: CheckpointInfo, before: Promotion, settings: str | None
) -> ReviewTables:
    """The candidate against the champion, each by the evaluation of that very checkpoint."""
    champion = before.candidate
    try:
        reference = run.parent / champion.run
        settings = settings or settings_of_pair(run, reference)
        pair = choose_pair((run, checkpoint.step), (reference, champion.step), settings)
        for side, digest in (
            (pair.candidate, checkpoint.digest),
            (pair.reference, champion.checkpoint_digest),
        ):
            if side.summary.provenance.checkpoint_digest != digest:
                raise EvaluationError(
                    f"{side.name}: expected the evaluation of checkpoint {digest[:12]}, found that "
                    f"of another one of its step; evaluate it again: {side.remade_by()}"
                )
        return review_pair(pair, facts=(checkpoint_check(pair.candidate),))
    except EvaluationError as error:
        raise CommandError(
            f"{error}; to promote without a review, add --override {NO_REVIEW}"
        ) from error


@contextmanager
def _intact(run: Path, step: int) -> Iterator[CheckpointInfo]:
    """The checkpoint, every byte of it read, and not removed meanwhile."""
    description = open_run(run)
    path = checkpoint_path(run, step)
    if not path.is_dir():
        steps = ", ".join(str(info.step) for info in list_checkpoints(run)) or "none"
        raise CommandError(f"{path}: no such checkpoint; the run has those of steps {steps}")
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
            f"evaluate {quote(str(run))} --step {checkpoint.step}` first"
        )


def _sort_checks(
    tables: ReviewTables | None, before: Promotion | None, overridden: Sequence[str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of the checks that passed, and of those that failed and were overridden."""
    if before is None and overridden:
        raise CommandError(
            f"--override {overridden[0]}: expected nothing to override, since there is no champion "
            "to compare the first one with; leave it out"
        )
    if tables is None:
        return (), tuple(overridden)
    checks = tables.review.checks
    if unknown := set(overridden) - {check.name for check in checks}:
        names = ", ".join([*(check.name for check in checks), NO_REVIEW])
        raise CommandError(
            f"--override {sorted(unknown)[0]}: expected the name of a check ({names})"
        )
    failed = [check for check in checks if not check.passed]
    left = [check for check in failed if check.name not in overridden]
    if left:
        options = " ".join(f"--override {check.name}" for check in left)
        raise CommandError(
            f"not promoted: {'; '.join(check.text for check in left)} "
            f"({tables.review.candidate.weights} weights, {tables.review.form} form); to promote "
            f"all the same, add {options}"
        )
    passed = tuple(check.name for check in checks if check.passed)
    return passed, tuple(check.name for check in failed)


def _evidence(root: Path, tables: ReviewTables) -> Evidence:
    """Writes the review, keeps what it was against, and sums it up."""
    review = tables.review
    keep(root / review.reference.run, review.reference.step, KeepReason.REVIEWED)
    write_review(root, tables)
    return review.as_evidence()
