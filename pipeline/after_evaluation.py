"""What follows the evaluation of a run's checkpoints: its history, its curves in TensorBoard, and
which predictions stay."""

import datetime
import os
import shlex
from collections.abc import Sequence
from pathlib import Path

from manylabel.eval.config import MetricForm
from manylabel.eval.errors import EvaluationError
from manylabel.eval.history import OnUnreadable, build_history
from manylabel.eval.store.evaluations import drop_predictions, steps_with_predictions
from manylabel.eval.store.names import EvaluationName
from manylabel.eval.store.promotions import newest_promotion
from manylabel.eval.store.summary import EvaluationSummary
from manylabel.pipeline.events import OnEvent, ResultUnreadable
from manylabel.storage.errors import StorageError
from manylabel.storage.event_file import EventFile, steps_of
from manylabel.storage.pins import read_pins
from manylabel.trainer.runs.metrics_log import TENSORBOARD

_NEWEST = 20
"""Evaluations whose points are looked for: more than end at once in several processes."""


def write_history(run: Path, settings: str, on_event: OnEvent) -> None:
    """Rebuilds the history of a run's evaluations, with the differences from the champion."""
    run = Path(os.path.abspath(run))  # ".." is no name of a run.

    def tell(error: StorageError | EvaluationError) -> None:
        on_event(ResultUnreadable(None, str(error)))

    build_history(run.parent, run.name, settings, _champion(run.parent, tell), tell)


def _champion(root: Path, on_unreadable: OnUnreadable) -> EvaluationName | None:
    try:
        promotion = newest_promotion(root)
    except StorageError as error:
        on_unreadable(error)
        return None
    return None if promotion is None else promotion.candidate.name


def write_events(
    run: Path, new: Sequence[EvaluationSummary], before: Sequence[EvaluationSummary]
) -> None:
    """Adds evaluations of one run with the same settings to its curves in TensorBoard.

    Args:
        before: evaluations that there were; one whose point is missing, because the disk was full
            or the command was killed then, gets it now.
    """
    summaries = [*before, *new]
    if not summaries:
        return
    folder = run / TENSORBOARD / summaries[0].settings
    newest = sorted(before, key=lambda each: each.provenance.evaluated_at)[-_NEWEST:]
    sought = {each.provenance.step for each in newest}
    # A call adds all that is missing: where none of the newest is, no file before theirs is read.
    told = steps_of(folder, sought)
    if sought <= told:
        told.update(each.provenance.step for each in before)
    summaries = [*(each for each in before if each.provenance.step not in told), *new]
    if not summaries:
        return
    with EventFile(folder) as events:
        for summary in summaries:
            values = {}
            for form in MetricForm:
                headline = summary.headline_of(form)
                values[f"evaluation/{headline.name}"] = headline.value
                values[f"evaluation/baseline, {form} form"] = headline.baseline
            events.add(summary.provenance.step, values)


def drop_old_predictions(run: Path, keep: int | None) -> None:
    """Removes the predictions of all but the newest checkpoints and those that are pinned.

    Args:
        keep: `eval.keep_predictions`.
    """
    if keep is None:
        return
    pins = read_pins(run)
    for step in steps_with_predictions(run)[:-keep]:
        if step not in pins.steps:
            drop_predictions(
                run,
                step,
                f"removed {datetime.datetime.now(datetime.UTC):%Y-%m-%d}: eval.keep_predictions is "
                f"{keep}; `manylabel evaluate {shlex.quote(str(run))} --step {step} --set "
                "eval.keep_predictions=null` makes them again while the checkpoint is there",
            )
