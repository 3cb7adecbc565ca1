"""The stage `score`: any model's predictions, by the rules that our own are judged by."""

import datetime
import hashlib
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from pathlib import Path

from upath import UPath

from manylabel.eval.config import EvalConfig
from manylabel.eval.errors import EvaluationError
from manylabel.eval.job import Evaluation, Evaluator
from manylabel.eval.store.evaluations import (
    forget_others,
    predictions_path,
    read_summaries,
    write_evaluation,
)
from manylabel.eval.store.predictions import (
    PredictionBatch,
    PredictionOrigin,
    read_origin,
    write_predictions,
)
from manylabel.eval.store.summary import EvaluationSummary, Provenance
from manylabel.pipeline.after_evaluation import write_history
from manylabel.pipeline.config import eval_settings
from manylabel.pipeline.errors import CommandError
from manylabel.pipeline.evaluate import sole_evaluation
from manylabel.pipeline.events import Doing, OnEvent, ScoringProgressed, long_work
from manylabel.pipeline.other_predictions import OtherPredictions
from manylabel.pipeline.standstill import telling_standstill
from manylabel.storage.dataset import Dataset
from manylabel.storage.errors import StorageError
from manylabel.storage.locations import is_local
from manylabel.storage.provenance import code_version
from manylabel.trainer.runs.directory import DESCRIPTION, is_described

_CHUNK = 1 << 20


def score_predictions(
    predictions: str,
    dataset_root: str,
    place: tuple[Path, int] | None,
    samples: int,
    overrides: Sequence[str],
    on_event: OnEvent,
) -> EvaluationSummary:
    """Scores a file of predictions (`other_predictions` has its columns).

    Args:
        place: Run and step to write the evaluation to, so that it can be compared and looked at;
            None: nothing is written.
        samples: Training images that the model had seen, where they are known: the curves' x axis.
        overrides: `eval.key=value`.

    Raises:
        CommandError: the run is one that we trained.
        SettingsError: an override is wrong.
        EvaluationError: the predictions are not of each held-out image once, or are of another
            dataset.
        StorageError: a file is missing or damaged.
    """
    config = eval_settings(overrides)
    if place is not None and is_described(place[0]):
        raise CommandError(
            f"{place[0]}: expected a folder of its own for predictions of another tool, received "
            f"a trained run, which has {DESCRIPTION}; name another one with --run"
        )
    with long_work("score", on_event):
        on_event(Doing("looking at the predictions"))
        dataset = Dataset.open(dataset_root)
        opened = OtherPredictions.open(predictions, dataset)
        provenance = _provenance(predictions, place, samples)
        on_event(Doing("reading the held-out labels"))
        evaluator = Evaluator(dataset, config)
        with closing(_batches(opened, config, on_event, "computing the metric")) as batches:
            evaluation = evaluator.evaluate(batches, provenance)
        if place is not None:
            _check_dataset(place[0], dataset)
            _write(place, opened, config, evaluation, on_event)
    return evaluation.summary


def _write(
    place: tuple[Path, int],
    opened: OtherPredictions,
    config: EvalConfig,
    evaluation: Evaluation,
    on_event: OnEvent,
) -> None:
    """Writes the evaluation and its predictions, unless these are there, to a run and step."""
    (run, step), summary = place, evaluation.summary
    digest = summary.provenance.checkpoint_digest
    with sole_evaluation(predictions_path(run, step)):
        forget_others(run, step, digest)
        origin = PredictionOrigin(
            dataset_digest=summary.dataset.content_digest,
            checkpoint_digest=digest,
            score_kind=opened.score_kind,
            k=config.k,
        )
        if not _holds(predictions_path(run, step), origin):
            on_event(Doing("writing the predictions"))
            with closing(_batches(opened, config, on_event, "writing the evaluation")) as batches:
                write_predictions(predictions_path(run, step), _best(batches, config.k), origin)
        write_evaluation(run, summary, evaluation.tables)
    write_history(run, summary.settings, on_event)


def _check_dataset(run: Path, dataset: Dataset) -> None:
    """A folder is one model over its training: its evaluations are on the same images."""
    for summary in read_summaries(run, lambda _: None):
        received = summary.dataset.content_digest
        if received != dataset.content_digest:
            raise CommandError(
                f"{run}: its step {summary.provenance.step} was scored on a dataset of content "
                f"{received[:12]}, received one of {dataset.content_digest[:12]} ({dataset.root}); "
                "name another folder with --run"
            )


def _provenance(predictions: str, place: tuple[Path, int] | None, samples: int) -> Provenance:
    run, step = ("", 0) if place is None else (str(place[0]), place[1])
    path = UPath(predictions)
    return Provenance(
        run=run,
        checkpoint=str(path.absolute() if is_local(path) else path),
        checkpoint_digest=_digest(path),
        step=step,
        samples=samples,
        code_version=code_version(),
        evaluated_at=datetime.datetime.now(datetime.UTC),
    )


def _digest(path: UPath) -> str:
    """SHA-256, hexadecimal, of a file's bytes: what stands for the model that predicted."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _batches(
    opened: OtherPredictions, config: EvalConfig, on_event: OnEvent, then: str
) -> Generator[PredictionBatch, None, None]:
    """The predictions; tells how far it is, or that it gets no further, and what is done then.

    Whoever reads them closes it, also after an error: it tells until then.
    """
    done, total = 0, len(opened.image_ids)
    with telling_standstill(on_event) as told:
        for batch in opened.batches(config.batch_size):
            yield batch
            done += len(batch.image_ids)
            told(ScoringProgressed(done, total))
    on_event(Doing(then))


def _best(batches: Iterator[PredictionBatch], k: int) -> Iterator[PredictionBatch]:
    """As many predictions as count: a file may hold those of all classes."""
    for batch in batches:
        yield PredictionBatch(batch.image_ids, batch.class_ids[:, :k], batch.scores[:, :k])


def _holds(path: UPath, wanted: PredictionOrigin) -> bool:
    """Whether a file has these predictions already, or more of each image."""
    if not path.is_file():
        return False
    try:
        found = read_origin(path)
    except (EvaluationError, StorageError):  # It is replaced.
        return False
    return (
        found is not None
        and found.k >= wanted.k
        and found.model_copy(update={"k": wanted.k}) == wanted
    )
