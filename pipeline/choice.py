"""Which checkpoints of a run an evaluation takes."""

from collections.abc import Sequence
from pathlib import Path

from manylabel.eval.config import MetricForm
from manylabel.eval.ranking.weights import raw_weights
from manylabel.eval.settings import settings_key
from manylabel.eval.store.evaluations import has_evaluation, read_evaluation
from manylabel.eval.store.summary import EvaluationSummary
from manylabel.pipeline.config import eval_settings
from manylabel.pipeline.errors import CommandError
from manylabel.storage.dataset import Dataset
from manylabel.storage.errors import StorageError
from manylabel.trainer.runs.checkpoint import CheckpointInfo
from manylabel.trainer.runs.directory import SETTINGS, is_described, open_run, read_labels


def own_settings(run: Path) -> str | None:
    """Name of the settings that a run is evaluated with when nothing overrides its own; None for a
    folder of scored predictions, which has none.

    Raises:
        SettingsError, StorageError, TrainingError: the run cannot be read.
        EvaluationError: its weights table cannot be used.
    """
    if not (is_described(run) and (run / SETTINGS).is_file()):
        return None
    config = eval_settings(run_settings=run / SETTINGS)
    return settings_key(config, raw_weights(config.weights, read_labels(run, open_run(run))))


class Evaluated:
    """The evaluations that checkpoints of a run have with the same settings."""

    def __init__(self, run: Path, dataset: Dataset, settings: str) -> None:
        self._run, self._dataset, self._settings = run, dataset, settings

    def read(self, checkpoint: CheckpointInfo) -> EvaluationSummary | None:
        """The evaluation of this very checkpoint on this very dataset, if it has one.

        Raises:
            StorageError: it is damaged.
        """
        if not has_evaluation(self._run, checkpoint.step, self._settings):
            return None
        summary = read_evaluation(self._run, checkpoint.step, self._settings)
        made_from = summary.provenance.checkpoint_digest, summary.dataset.content_digest
        # A lost checkpoint may have been made again, at the same step, when the run was resumed.
        if made_from != (checkpoint.digest, self._dataset.content_digest):
            return None
        return summary

    def find(self, checkpoint: CheckpointInfo) -> EvaluationSummary | None:
        """As `read`, but a damaged evaluation is none: it will be made again."""
        try:
            return self.read(checkpoint)
        except StorageError:
            return None


def choose_checkpoints(
    found: Sequence[CheckpointInfo], step: str, evaluated: Evaluated, form: MetricForm
) -> Sequence[CheckpointInfo]:
    """Those of a run's checkpoints that `step` names.

    Args:
        found: Oldest first.
        step: "all"; "latest"; "new", those without an evaluation; "best", the evaluated one with
            the best headline; or a number.
        evaluated: Says which have been evaluated.
        form: The headline's.

    Returns:
        Some of `found`, oldest first; none only for "new".

    Raises:
        CommandError: there is none.
    """
    if not found:
        raise CommandError("the run has no intact checkpoint yet; train it first")
    match step:
        case "all":
            return found
        case "latest":
            return found[-1:]
        case "new":
            return [info for info in found if evaluated.find(info) is None]
        case "best":
            return [_best(found, evaluated, form)]
    chosen = [info for info in found if str(info.step) == step]
    if not chosen:
        steps = ", ".join(str(info.step) for info in found)
        raise CommandError(f"--step {step}: expected latest, best, new, all or one of {steps}")
    return chosen


def _best(
    found: Sequence[CheckpointInfo], evaluated: Evaluated, form: MetricForm
) -> CheckpointInfo:
    values = {
        info.step: summary.scores.weighted_map(form)
        for info in found
        if (summary := evaluated.find(info)) is not None
    }
    if not values:
        raise CommandError(
            "--step best: no checkpoint has been evaluated with these settings; use --step all"
        )
    return max((info for info in found if info.step in values), key=lambda info: values[info.step])
