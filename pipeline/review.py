"""The stages `compare` and `review`: is one checkpoint better than another?"""

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from manylabel.eval.config import MetricForm
from manylabel.eval.review.build import ReviewTables, review_pair
from manylabel.eval.review.model import Check
from manylabel.eval.review.pair import Evaluated, choose_pair
from manylabel.eval.review.store import write_review
from manylabel.eval.statistics.differences import Verdict
from manylabel.eval.store.promotions import newest_promotion
from manylabel.pipeline.choice import own_settings
from manylabel.pipeline.errors import CommandError
from manylabel.storage.pins import KeepReason, keep
from manylabel.trainer.errors import CheckpointError
from manylabel.trainer.runs.checkpoint import checkpoint_path, describe_checkpoint, verify
from manylabel.trainer.runs.directory import is_described

MOVERS = 8
"""Labels that are shown of those that gained, and of those that lost: as many as fit a screen."""

NOT_COMPARABLE = 12
EXIT_CODES: Mapping[Verdict, int] = MappingProxyType(
    {Verdict.BETTER: 0, Verdict.NOT_SHOWN: 10, Verdict.EQUAL: 10, Verdict.WORSE: 11}
)
"""Of `compare --check`; 1 and 2 keep their meaning, an error of ours and one of the user's."""


@dataclass(frozen=True, eq=False)
class WrittenReview:
    """A review on disk.

    Attributes:
        tables: What it says.
        directory: Where it is.
        report: The report file, where one was asked for.
    """

    tables: ReviewTables
    directory: Path
    report: Path | None


def compare_evaluations(
    candidate: str, reference: str, settings: str | None, margin: float, form: str | None
) -> ReviewTables:
    """Holds two evaluations against each other and writes nothing.

    Args:
        candidate: RUN, for its newest evaluation, or RUN@STEP, where RUN is a path.
        reference: Likewise, of any root.
        settings: Name of the settings of both, or its beginning; None: the newest that both have.
        margin: The least difference that matters.
        form: A `MetricForm`, of the headline; None: as the candidate's settings say.

    Raises:
        EvaluationError: there is no such evaluation, or a file of it is damaged.
        NotComparable: they are of other held-out images or other settings.
    """
    _check_margin(margin)
    pair = choose_pair(_place(candidate), _place(reference), settings)
    return review_pair(pair, margin, None if form is None else MetricForm(form))


def review_run(
    run: Path,
    step: int,
    against: str | None,
    margin: float,
    output: Path | None,
    settings: str | None = None,
) -> WrittenReview:
    """Writes the review of a checkpoint below the folder that holds its run, and a report file.

    Both checkpoints are kept from then on: a review that points to nothing decides nothing.

    Args:
        against: RUN@STEP of the same folder; None: the champion.
        settings: Name of the settings of both evaluations, or its beginning; None: the run's own.
        output: The report file; None for none.

    Raises:
        CommandError: there is no champion, or the reference lies elsewhere.
        EvaluationError, NotComparable: as `compare_evaluations`.
        DeploymentError: the report cannot be written.
    """
    _check_margin(margin)
    if output is not None and output.suffix.lower() not in (".html", ".htm"):
        raise CommandError(f"--output {output}: expected a name that ends in .html")
    run = Path(os.path.abspath(run))  # ".." is no name of a run.
    reference = _reference(run.parent, against)
    pair = choose_pair((run, step), reference, settings or settings_of_pair(run, reference[0]))
    tables = review_pair(pair, margin, facts=(checkpoint_check(pair.candidate),))
    for each in (pair.candidate, pair.reference):
        keep(each.run_dir, each.summary.provenance.step, KeepReason.REVIEWED)
    directory = write_review(run.parent, tables)
    if output is not None:
        from manylabel.deploy.dashboard.report import write_report

        write_report(run.parent, directory, output)
    return WrittenReview(tables, directory, output)


def settings_of_pair(run: Path, reference: Path) -> str | None:
    """What a decision rests on unless it is told otherwise: the run's own settings, whichever
    evaluations were made last; of scored predictions those of what they are held against."""
    return own_settings(run) or own_settings(reference)


def _check_margin(margin: float) -> None:
    if not math.isfinite(margin):
        raise CommandError(f"--margin {margin}: expected a difference of MAP, such as 0.002")


def movers(tables: ReviewTables) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The labels that gained and that lost most in the headline's form, the largest part first.

    Returns:
        Rows of `tables.labels`, at most MOVERS of each.
    """
    name = f"{tables.review.form}_contribution"
    rows = sorted(tables.labels.to_pylist(), key=lambda row: row[name], reverse=True)
    gained = [row for row in rows[:MOVERS] if row[name] > 0]
    return gained, [row for row in rows[: -MOVERS - 1 : -1] if row[name] < 0]


def checkpoint_check(evaluated: Evaluated) -> Check:
    """Whether the checkpoint that was evaluated is there, and every byte of it as it was."""
    run, provenance = evaluated.run_dir, evaluated.summary.provenance
    path = checkpoint_path(run, provenance.step)
    problem = None
    if not is_described(run):
        problem = "No checkpoint: predictions of another tool were scored"
    elif not path.is_dir():
        problem = f"Checkpoint {path} is gone"
    else:
        try:
            if describe_checkpoint(path).digest != provenance.checkpoint_digest:
                problem = f"Checkpoint {path} is not the one that was evaluated"
            else:
                verify(path)
        except CheckpointError as error:
            problem = f"Checkpoint damaged: {error}"
    return Check(
        name="intact",
        passed=problem is None,
        text=problem or f"Checkpoint intact ({provenance.checkpoint_digest[:12]})",
    )


def _reference(root: Path, against: str | None) -> tuple[Path, int | None]:
    if against is None:
        promotion = newest_promotion(root)
        if promotion is None:
            raise CommandError(
                f"{root}: expected a champion to review against, found no promotion; name another "
                "evaluation with --against RUN@STEP"
            )
        return root / promotion.candidate.run, promotion.candidate.step
    run, step = _place(against)
    if len(run.parts) == 1:
        return root / run, step
    if run.absolute().parent != root:
        raise CommandError(
            f"--against {against}: expected a run in {root}, whose reviews and champion it shares; "
            "`manylabel compare` takes any two"
        )
    return run.absolute(), step


def _place(text: str) -> tuple[Path, int | None]:
    """RUN or RUN@STEP; a directory whose name has an @ is a RUN."""
    run, separator, step = text.rpartition("@")
    if separator and run and step.isascii() and step.isdigit() and not Path(text).is_dir():
        return Path(run), int(step)
    return Path(text), None
