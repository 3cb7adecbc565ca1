"""The stage `evaluate`: predicts the held-out images of checkpoints and scores the predictions."""

import datetime
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from upath import UPath

from manylabel.eval.config import EvalConfig
from manylabel.eval.errors import EvaluationError
from manylabel.eval.job import Evaluator
from manylabel.eval.predictions import PredictionBatch, write_predictions
from manylabel.eval.store import predictions_path, read_summary, summary_path
from manylabel.eval.summary import EvaluationSummary, Provenance
from manylabel.pipeline.config import load_settings
from manylabel.pipeline.errors import CommandError
from manylabel.pipeline.events import (
    EvaluatedBefore,
    EvaluationUnreadable,
    OnEvent,
    PredictionProgressed,
    long_work,
)
from manylabel.pipeline.quiet import quiet_imports
from manylabel.storage.dataset import Dataset
from manylabel.storage.provenance import code_version
from manylabel.storage.schema import SplitName
from manylabel.trainer.runs.checkpoint import (
    MANIFEST,
    CheckpointInfo,
    checkpoint_path,
    list_checkpoints,
)
from manylabel.trainer.runs.directory import SETTINGS, RunDescription, open_run

if TYPE_CHECKING:
    from manylabel.trainer.predict import Predictor


def evaluate_run(
    run: Path, step: str, dataset_root: str | None, overrides: Sequence[str], on_event: OnEvent
) -> list[EvaluationSummary]:
    """Evaluates the checkpoints that `step` names ("latest", "all" or a number), oldest first.

    Args:
        dataset_root: Where the run's dataset is now; None: where it was when the run was trained.

    Raises:
        CommandError: the dataset is not the run's, an override is of another section than `eval`.
    """
    for override in overrides:
        if override.partition("=")[0].split(".")[0].strip() != "eval":
            raise CommandError(
                f"--set {override}: expected eval.key=value, the only settings that an evaluation "
                "does not take from its run"
            )
    description = open_run(run)
    settings = load_settings(str(run / SETTINGS), overrides)
    dataset = _open_dataset(run, description, dataset_root)
    checkpoints = choose_checkpoints(list_checkpoints(run), step)
    return evaluate_checkpoints(run, checkpoints, dataset, settings.eval, on_event)


def _open_dataset(run: Path, description: RunDescription, root: str | None) -> Dataset:
    if root is None:
        root = description.dataset
        if not UPath(root).is_dir():
            raise CommandError(
                f"{root}: expected the dataset that {run} was trained on, found none; "
                "if it was moved, name it with --dataset"
            )
    dataset = Dataset.open(root)
    if dataset.fingerprint != description.dataset_fingerprint:
        raise CommandError(
            f"{root}: expected the dataset {description.dataset_fingerprint[:12]} that {run} was "
            f"trained on, received {dataset.fingerprint[:12]}; name the right one with --dataset "
            "or preprocess it again"
        )
    return dataset


def choose_checkpoints(found: Sequence[CheckpointInfo], step: str) -> Sequence[CheckpointInfo]:
    """Those that "latest", "all" or a number names, of a run's checkpoints, oldest first.

    Raises:
        CommandError: there is none.
    """
    if not found:
        raise CommandError("the run has no intact checkpoint yet; train it first")
    if step == "all":
        return found
    if step == "latest":
        return found[-1:]
    chosen = [info for info in found if str(info.step) == step]
    if not chosen:
        steps = ", ".join(str(info.step) for info in found)
        raise CommandError(f"--step {step}: expected latest, all or one of {steps}")
    return chosen


def evaluate_checkpoints(
    run: Path,
    checkpoints: Sequence[CheckpointInfo],
    dataset: Dataset,
    config: EvalConfig,
    on_event: OnEvent,
) -> list[EvaluationSummary]:
    """Evaluates what has no evaluation with these settings yet; returns one summary for each."""
    summaries = []
    predictor: Predictor | None = None
    evaluator: Evaluator | None = None
    for checkpoint in checkpoints:
        summary = evaluated_before(run, checkpoint, dataset.fingerprint, config, on_event)
        if summary is None:
            evaluator = evaluator or Evaluator(dataset, config)
            predictor = predictor or _new_predictor(run, dataset, config)
            _predict(predictor, run, checkpoint.step, dataset, config, on_event)
            provenance = Provenance(
                run=str(run),
                checkpoint=str(checkpoint.path),
                step=checkpoint.step,
                samples=checkpoint.samples,
                code_version=code_version(),
                evaluated_at=datetime.datetime.now(datetime.UTC),
            )
            summary = evaluator.evaluate_files(run, provenance)
        summaries.append(summary)
    return summaries


def evaluated_before(
    run: Path, checkpoint: CheckpointInfo, fingerprint: str, config: EvalConfig, on_event: OnEvent
) -> EvaluationSummary | None:
    """The checkpoint's evaluation on this dataset with these settings, or None."""
    step = checkpoint.step
    if not summary_path(run, step).is_file():
        return None
    try:
        summary = read_summary(run, step)
    except EvaluationError as error:  # The new evaluation takes its place.
        on_event(EvaluationUnreadable(step, str(error)))
        return None
    if (summary.config, summary.dataset.fingerprint) != (config, fingerprint):
        return None
    # A lost checkpoint may have been made again, at the same step, when the run was resumed.
    if summary.provenance.evaluated_at.timestamp() < _time_made(run, step):
        return None
    on_event(EvaluatedBefore(step))
    return summary


def _time_made(run: Path, step: int) -> float:
    """When a checkpoint was finished; 0 if it is there no more."""
    manifest = checkpoint_path(run, step) / MANIFEST
    return manifest.stat().st_mtime if manifest.exists() else 0.0


def _new_predictor(run: Path, dataset: Dataset, config: EvalConfig) -> "Predictor":
    with quiet_imports():
        from manylabel.trainer.predict import Predictor
    return Predictor(run, dataset, k=config.k)


def _predict(
    predictor: "Predictor",
    run: Path,
    step: int,
    dataset: Dataset,
    config: EvalConfig,
    on_event: OnEvent,
) -> None:
    total = dataset.records(SplitName.HELDOUT)

    def batches() -> Iterator[PredictionBatch]:
        done = 0
        for image_ids, class_ids, scores in predictor.predict(step, config.batch_size):
            yield PredictionBatch(image_ids, class_ids, scores)
            done += len(image_ids)
            on_event(PredictionProgressed(done, total))

    # A summary belongs to the predictions beside it: it goes first, and comes last.
    summary_path(run, step).unlink(missing_ok=True)
    with long_work(f"evaluate step {step:,}", on_event):
        write_predictions(predictions_path(run, step), batches(), dataset.fingerprint)
