"""The stage `evaluate`: predicts the held-out images of checkpoints and scores the predictions."""

import datetime
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from upath import UPath

from manylabel.eval.config import EvalConfig
from manylabel.eval.errors import EvaluationError
from manylabel.eval.job import Evaluator
from manylabel.eval.ranking.weights import raw_weights
from manylabel.eval.settings import settings_key
from manylabel.eval.store.evaluations import (
    forget_others,
    predictions_path,
    why_dropped,
)
from manylabel.eval.store.predictions import (
    PredictionBatch,
    PredictionOrigin,
    ScoreKind,
    read_origin,
    write_predictions,
)
from manylabel.eval.store.summary import EvaluationSummary, Provenance
from manylabel.pipeline.after_evaluation import drop_old_predictions, write_events, write_history
from manylabel.pipeline.choice import Evaluated, choose_checkpoints
from manylabel.pipeline.config import eval_settings
from manylabel.pipeline.errors import CommandError, EvaluationBusyError
from manylabel.pipeline.events import (
    LOADING,
    CheckpointDamaged,
    Doing,
    EvaluatedBefore,
    OnEvent,
    PredictionProgressed,
    ResultUnreadable,
    long_work,
)
from manylabel.pipeline.job_status import StatusWriter
from manylabel.pipeline.quiet import quiet_imports
from manylabel.pipeline.standstill import telling_standstill
from manylabel.storage.dataset import Dataset
from manylabel.storage.errors import StorageError, TableError
from manylabel.storage.jobs import JobStage
from manylabel.storage.locks import sole_holder
from manylabel.storage.provenance import code_version
from manylabel.storage.schema import SplitName
from manylabel.storage.shard_files import check_shards
from manylabel.trainer.networks.loss_config import LossKind
from manylabel.trainer.runs.checkpoint import CheckpointInfo, kept, list_checkpoints
from manylabel.trainer.runs.directory import (
    SETTINGS,
    RunDescription,
    check_dataset,
    check_origin,
    open_run,
)

if TYPE_CHECKING:
    from manylabel.trainer.predict import Predictor


def evaluate_run(
    run: Path, step: str, dataset_root: str | None, overrides: Sequence[str], on_event: OnEvent
) -> list[EvaluationSummary]:
    """Evaluates the checkpoints that `step` names, oldest first; see `choose_checkpoints`.

    Args:
        dataset_root: Where the run's dataset is now; None: where it was when the run was trained.

    Raises:
        CommandError: there is no dataset or checkpoint, an override is of another section than
            `eval`, or another evaluation of a checkpoint is at work.
        TrainingError: there is no run, or the dataset is not the run's.
        EvaluationError: the class weights or the held-out split cannot be used.
        SettingsError, StorageError: an override, or a file, is wrong.
    """
    for override in overrides:
        if override.partition("=")[0].split(".")[0].strip() != "eval":
            raise CommandError(
                f"--set {override}: expected eval.key=value, the only settings that an evaluation "
                "does not take from its run"
            )
    open_run(run)  # Its error comes first.
    if not (run / SETTINGS).is_file():
        raise CommandError(f"{run}: expected its settings in {SETTINGS}, found none; put them back")
    return evaluate_with(
        eval_settings(overrides, run / SETTINGS), run, step, dataset_root, on_event
    )


def evaluate_with(
    config: EvalConfig, run: Path, step: str, dataset_root: str | None, on_event: OnEvent
) -> list[EvaluationSummary]:
    """As `evaluate_run`, with settings that need not be the run's."""
    dataset = _open_dataset(run, open_run(run), dataset_root)
    found = list_checkpoints(run, lambda error: on_event(CheckpointDamaged(str(error))))
    evaluated = Evaluated(run, dataset, _settings_key(dataset, config))
    checkpoints = choose_checkpoints(found, step, evaluated, config.form)
    with StatusWriter(run, JobStage.EVALUATE, on_event) as status:
        return evaluate_checkpoints(run, checkpoints, dataset, config, status.on_event)


def _settings_key(dataset: Dataset, config: EvalConfig) -> str:
    return settings_key(config, raw_weights(config.weights, dataset.labels()))


def _open_dataset(run: Path, description: RunDescription, root: str | None) -> Dataset:
    if root is None:
        root = description.dataset
        if not UPath(root).is_dir():
            raise CommandError(
                f"{root}: expected the dataset that {run} was trained on, found none; "
                "if it was moved, name it with --dataset"
            )
    dataset = Dataset.open(root)
    check_dataset(run, description, dataset)
    return dataset


def evaluate_checkpoints(
    run: Path,
    checkpoints: Sequence[CheckpointInfo],
    dataset: Dataset,
    config: EvalConfig,
    on_event: OnEvent,
) -> list[EvaluationSummary]:
    """Evaluates what has no evaluation with these settings yet; returns one summary for each.

    The run's history and its curves in TensorBoard follow, also when there was nothing to evaluate.

    Raises:
        CommandError: the run's retention has removed all of the checkpoints by now, or another
            evaluation of one is at work.
        TrainingError: a checkpoint is not of this run.
        EvaluationError: the class weights or the held-out split cannot be used.
    """
    with kept(checkpoints) as found:
        if not found and checkpoints:
            raise CommandError(f"{run}: its checkpoints were removed just now; evaluate again")
        description = open_run(run)
        for checkpoint in found:
            check_origin(checkpoint, description)
        evaluation = _Evaluation(run, dataset, config, description.trainer.loss.kind, on_event)
        try:
            return [evaluation.of(checkpoint) for checkpoint in found]
        finally:  # What there is belongs into the history, whatever happened to the rest.
            evaluation.finish()


@contextmanager
def sole_evaluation(predictions: UPath) -> Iterator[None]:
    """Keeps two evaluations of one checkpoint from replacing each other's predictions.

    Raises:
        EvaluationBusyError: another one is at work.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(sole_holder(Path(predictions.with_name(".lock").path)))
        except BlockingIOError as error:
            raise EvaluationBusyError(
                f"{predictions.parent}: another evaluation of this checkpoint is at work; wait "
                "until it has ended"
            ) from error
        yield


class _Evaluation:
    """Evaluates checkpoints of one run; what all of them need is made once, when first needed."""

    def __init__(
        self, run: Path, dataset: Dataset, config: EvalConfig, loss: LossKind, on_event: OnEvent
    ) -> None:
        self._run, self._dataset, self._config, self._loss = run, dataset, config, loss
        self._on_event = on_event
        self._weights = raw_weights(config.weights, dataset.labels())
        self._settings = settings_key(config, self._weights)
        self._evaluated = Evaluated(run, dataset, self._settings)
        self._new: list[EvaluationSummary] = []
        self._before: list[EvaluationSummary] = []

    def of(self, checkpoint: CheckpointInfo) -> EvaluationSummary:
        """The evaluation that there is, or a new one; predicts only if nothing fits."""
        if (summary := self._made_before(checkpoint)) is not None:
            return summary
        evaluator = self._evaluator  # What is wrong with labels or weights is no damage below.
        with (
            sole_evaluation(predictions_path(self._run, checkpoint.step)),
            long_work(f"evaluate step {checkpoint.step:,}", self._on_event),
        ):
            summary = self._from_predictions(checkpoint, evaluator)
            if summary is None:
                self._predict(checkpoint)
                summary = self._scored(checkpoint, evaluator)
        self._new.append(summary)
        return summary

    def finish(self) -> None:
        """What follows from the new evaluations: history, curves, which predictions stay."""
        write_events(self._run, self._new, self._before)
        write_history(self._run, self._settings, self._on_event)
        drop_old_predictions(self._run, self._config.keep_predictions)

    def _made_before(self, checkpoint: CheckpointInfo) -> EvaluationSummary | None:
        try:
            summary = self._evaluated.read(checkpoint)
        except StorageError as error:  # The new evaluation takes its place.
            self._on_event(ResultUnreadable(checkpoint.step, str(error)))
            return None
        if summary is None or self._wants_predictions_back(checkpoint.step):
            return None
        self._on_event(EvaluatedBefore(checkpoint.step))
        self._before.append(summary)
        return summary.in_form(self._config.form)

    def _wants_predictions_back(self, step: int) -> bool:
        dropped = why_dropped(self._run, step) is not None
        return dropped and self._config.keep_predictions is None

    def _from_predictions(
        self, checkpoint: CheckpointInfo, evaluator: Evaluator
    ) -> EvaluationSummary | None:
        """From the predictions that there are; None if they do not fit or cannot be used."""
        if not self._has_predictions(checkpoint):
            return None
        try:
            return self._scored(checkpoint, evaluator)
        except (EvaluationError, TableError) as error:
            self._on_event(ResultUnreadable(checkpoint.step, str(error)))
            return None

    def _scored(self, checkpoint: CheckpointInfo, evaluator: Evaluator) -> EvaluationSummary:
        images = self._dataset.records(SplitName.HELDOUT)
        self._on_event(Doing(f"scoring {images:,} images"))
        return evaluator.evaluate_files(self._run, self._provenance(checkpoint))

    def _has_predictions(self, checkpoint: CheckpointInfo) -> bool:
        """Whether there are predictions of this very checkpoint, enough of each image."""
        path = predictions_path(self._run, checkpoint.step)
        if not path.is_file():
            return False
        try:
            origin = read_origin(path)
        except (EvaluationError, StorageError) as error:
            self._on_event(ResultUnreadable(checkpoint.step, str(error)))
            return False
        wanted = self._origin(checkpoint)
        return origin is not None and (
            origin.model_copy(update={"k": wanted.k}) == wanted
            and origin.k >= min(wanted.k, self._dataset.num_classes)
        )

    def _origin(self, checkpoint: CheckpointInfo) -> PredictionOrigin:
        softmax = self._loss is LossKind.SOFTMAX
        return PredictionOrigin(
            dataset_digest=self._dataset.content_digest,
            checkpoint_digest=checkpoint.digest,
            score_kind=ScoreKind.LOG_PROBABILITY if softmax else ScoreKind.LOGIT,
            k=self._config.k,
        )

    def _provenance(self, checkpoint: CheckpointInfo) -> Provenance:
        return Provenance(
            run=str(self._run),
            checkpoint=str(checkpoint.path),
            checkpoint_digest=checkpoint.digest,
            step=checkpoint.step,
            samples=checkpoint.samples,
            code_version=code_version(),
            evaluated_at=datetime.datetime.now(datetime.UTC),
        )

    def _predict(self, checkpoint: CheckpointInfo) -> None:
        step, total = checkpoint.step, self._dataset.records(SplitName.HELDOUT)

        def batches(on_event: OnEvent) -> Iterator[PredictionBatch]:
            done, predictor = 0, self._predictor
            predicted = predictor.predict(checkpoint, self._config.batch_size)
            for image_ids, class_ids, scores in predicted:
                yield PredictionBatch(image_ids, class_ids, scores)
                done += len(image_ids)
                on_event(PredictionProgressed(done, total, predictor.gpus))

        forget_others(self._run, step, checkpoint.digest)
        with telling_standstill(self._on_event) as on_event:
            write_predictions(
                predictions_path(self._run, step), batches(on_event), self._origin(checkpoint)
            )

    @cached_property
    def _evaluator(self) -> Evaluator:
        return Evaluator(self._dataset, self._config, self._weights)

    @cached_property
    def _predictor(self) -> "Predictor":
        check_shards(self._dataset, SplitName.HELDOUT)
        self._on_event(Doing(LOADING))
        with quiet_imports():
            from manylabel.trainer.predict import Predictor
        return Predictor(self._run, self._dataset, k=self._config.k)
