"""A folder of runs as large as the dashboard's budgets are for, in minutes instead of GPU-years.

    FOLDER/dataset    benchmarks/_generated_dataset.py
    FOLDER/runs       runs of benchmarks/_generated_evaluations.py, each checkpoint evaluated by a
                      schedule; a champion, two reviews

Histories, promotions and reviews are made by the code that users run. Every evaluation has the
classes.parquet, images.parquet and parts.parquet that histories are built of. positives.parquet and
predictions.parquet take 12 MB each: pages of labels and images open those of two evaluations, so
both champions and the newest of each run have them; elsewhere positives.parquet has no rows, and
there are no predictions.
"""

import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from upath import UPath

from benchmarks._generated_dataset import draw_labelling, write_dataset
from benchmarks._generated_evaluations import Evaluations, Model, checkpoint_digest
from manylabel.eval.history import build_history
from manylabel.eval.review.build import ReviewTables, build_review
from manylabel.eval.review.store import write_review
from manylabel.eval.schedule.config import SETTINGS
from manylabel.eval.schedule.records import (
    FireAction,
    FireEvaluation,
    FireRecord,
    Outcome,
    checkpoint_key,
)
from manylabel.eval.schedule.store import FireStore
from manylabel.eval.store.evaluations import predictions_path, write_evaluation
from manylabel.eval.store.names import EvaluationName
from manylabel.eval.store.predictions import (
    PredictionBatch,
    PredictionOrigin,
    ScoreKind,
    write_predictions,
)
from manylabel.eval.store.promotions import (
    PromotedCheckpoint,
    Promotion,
    record_promotion,
)
from manylabel.eval.store.summary import DatasetReference
from manylabel.storage.atomic import replace_text
from manylabel.storage.dataset import Dataset
from manylabel.storage.documents import sha256_of
from manylabel.trainer.config import TrainerConfig
from manylabel.trainer.plane.metrics import MetricsRow
from manylabel.trainer.runs.directory import describe_run
from manylabel.trainer.runs.metrics_log import MetricsLog

BATCH, STEPS_BETWEEN = 64, 500
METRICS_ROWS = 2_000
BEGAN = datetime(2026, 3, 2, 9, tzinfo=UTC)
BETWEEN_EVALUATIONS = timedelta(minutes=41)
_SCHEDULES = """\
schedules:
  nightly: {when: "0 2 * * *", timezone: Europe/Paris}
  every: {when: new_checkpoint}
"""


@dataclass(frozen=True)
class Shape:
    """How large a store is."""

    runs: int = 10
    evaluations: int = 200
    labels: int = 17_000
    images: int = 14_000
    labels_an_image: float = 36.5  # FastEval14k's, paper section 4.1

    @property
    def names(self) -> list[str]:
        """Of the runs."""
        return [f"xception-{number:02d}" for number in range(1, self.runs + 1)]

    @property
    def champions(self) -> tuple[EvaluationName, EvaluationName]:
        """Of the first run, a quarter and half through; the second one is the champion."""
        quarter = STEPS_BETWEEN * (self.evaluations // 4)
        return EvaluationName(self.names[0], quarter), EvaluationName(self.names[0], 2 * quarter)

    @property
    def challenger(self) -> EvaluationName:
        """The newest of the last run."""
        return EvaluationName(self.names[-1], STEPS_BETWEEN * self.evaluations)

    def is_opened(self, name: EvaluationName) -> bool:
        """Whether pages of labels and images are opened for an evaluation."""
        return name in self.champions or name.step == self.challenger.step

    def models(self, number: int) -> list[Model]:
        """The checkpoints of a run; each learns a little more, or less, than the one before."""
        gain = 0.04 * (7 * number % 10) / 10 - 0.02
        return [
            Model(
                run=self.names[number],
                number=number,
                step=STEPS_BETWEEN * place,
                samples=STEPS_BETWEEN * BATCH * place,
                progress=place / self.evaluations,
                gain=gain,
            )
            for place in range(1, self.evaluations + 1)
        ]


FULL = Shape()
SMALL = Shape(runs=1, evaluations=12, labels=2_000, images=1_500, labels_an_image=12)


def generate(folder: Path, shape: Shape, processes: int) -> Path:
    """Writes a store below a folder, unless it is there, and returns the folder of runs."""
    root = folder / "runs"
    done = folder / f"{sha256_of(repr(shape).encode())[:12]}.done"
    if done.exists():
        return root
    shutil.rmtree(root, ignore_errors=True)
    labelling = draw_labelling(shape.labels, shape.images, shape.labels_an_image)
    write_dataset(UPath(folder / "dataset"), labelling)
    numbers = range(shape.runs)
    _in_parallel([partial(_write_run, folder, shape, number) for number in numbers], processes)
    first, champion = shape.champions
    evidence = build_review(root, champion, first)
    _promote(root, 1, first, None)
    _promote(root, 2, champion, evidence)
    challenge = build_review(root, shape.challenger, champion)
    for tables in (evidence, challenge):
        write_review(root, tables)
    settings = challenge.review.candidate.settings
    _in_parallel(
        [partial(_build_history, root, name, settings, champion) for name in shape.names],
        processes,
    )
    _write_schedule(root, shape, settings)
    done.touch()
    return root


def _in_parallel(tasks: Sequence[Callable[[], None]], processes: int) -> None:
    if processes == 1:
        for task in tasks:
            task()
        return
    # Not forked: the libraries' threads would be gone, and their locks held.
    with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
        for waiting in [pool.submit(task) for task in tasks]:
            waiting.result()


def _write_run(folder: Path, shape: Shape, number: int) -> None:
    dataset = Dataset.open(folder / "dataset")
    labelling = draw_labelling(shape.labels, shape.images, shape.labels_an_image)
    reference = DatasetReference(root=str(dataset.root), content_digest=dataset.content_digest)
    evaluations = Evaluations(labelling, reference)
    image_ids = dataset.heldout_images().column("image_id").to_pylist()
    models = shape.models(number)
    run = folder / "runs" / models[0].run
    describe_run(run, dataset, TrainerConfig(), {"trainer": {}})
    _write_metrics(run, models[-1])
    for model, made_at in _dated(shape, number):
        name = EvaluationName(model.run, model.step)
        summary, tables = evaluations.evaluate(model, made_at, shape.is_opened(name))
        write_evaluation(run, summary, tables)
        if shape.is_opened(name):
            origin = PredictionOrigin(
                dataset_digest=dataset.content_digest,
                checkpoint_digest=model.digest,
                score_kind=ScoreKind.LOGIT,
                k=summary.config.k,
            )
            whole = evaluations.predictions(model, image_ids)
            batches = _in_batches(whole, summary.config.batch_size)
            write_predictions(predictions_path(run, model.step), batches, origin)


def _in_batches(whole: PredictionBatch, size: int) -> Iterator[PredictionBatch]:
    """As an evaluation writes them: each is a row group of the file."""
    for start in range(0, len(whole.image_ids), size):
        rows = slice(start, start + size)
        yield PredictionBatch(whole.image_ids[rows], whole.class_ids[rows], whole.scores[rows])


def _dated(shape: Shape, number: int) -> Iterator[tuple[Model, datetime]]:
    """The checkpoints of a run, and when each was evaluated."""
    for place, model in enumerate(shape.models(number)):
        yield model, BEGAN + timedelta(days=number) + place * BETWEEN_EVALUATIONS


def _write_metrics(run: Path, last: Model) -> None:
    random = np.random.default_rng(last.number)
    rows = []
    for place in range(1, METRICS_ROWS + 1):
        done = place / METRICS_ROWS
        noise = random.standard_normal(4).tolist()
        row = MetricsRow(
            step=int(last.step * done),
            samples=int(last.samples * done),
            loss=28 + 61 * 2.0 ** (-18 * done) - 4 * done + 0.4 * noise[0],
            learning_rate=1e-3 * 0.94 ** int(40 * done),
            staleness=max(0.0, 6.8 + 0.7 * noise[1]),
            max_staleness=9 + int(2 * abs(noise[1])),
            gradient_norm=2.1 + 0.3 * abs(noise[2]),
            images_per_second=1_830 + 55 * noise[3],
        )
        rows.append(row)
    with MetricsLog(run, 0) as log:
        log.append(rows)


def _write_schedule(root: Path, shape: Shape, settings: str) -> None:
    """Two schedules, and what one of them did about each checkpoint."""
    replace_text(root / SETTINGS, _SCHEDULES)
    for number in range(shape.runs):
        for model, made_at in _dated(shape, number):
            evaluation = FireEvaluation(
                run=model.run, step=model.step, settings=settings, new=True, verdict="better"
            )
            record = FireRecord(
                schedule="every",
                key=checkpoint_key(model.run, model.step, model.digest),
                action=FireAction.STARTED,
                reason=f"step {model.step} of {model.run} is new",
                due=made_at,
                run=model.run,
                step=model.step,
                checkpoint_digest=model.digest,
                first_started=made_at,
                started=made_at,
                host="trainer-1",
                pid=4_242,
                heartbeat=made_at,
                ended=made_at + timedelta(seconds=95),
                outcome=Outcome.DONE,
                evaluations=(evaluation,),
            )
            FireStore(root).claim(record)


def _build_history(root: Path, run: str, settings: str, champion: EvaluationName) -> None:
    def refuse(error: Exception) -> None:
        raise error

    build_history(root, run, settings, champion, refuse)


def _promote(root: Path, number: int, name: EvaluationName, tables: ReviewTables | None) -> None:
    review = None if tables is None else tables.review
    evidence = None if review is None else review.as_evidence()
    record_promotion(
        root,
        Promotion(
            number=number,
            person="ada",
            decided_at=BEGAN + number * timedelta(days=3),
            reason="Better on the labels that people search for, no band worse",
            candidate=_promoted(name),
            replaced=None if review is None else _promoted(review.reference.name),
            evidence=evidence,
            checks_passed=() if review is None else tuple(each.name for each in review.checks),
            checks_overridden=(),
            dataset_digest=Dataset.open(root.parent / "dataset").content_digest,
            code_version="0.1.0",
        ),
    )


def _promoted(name: EvaluationName) -> PromotedCheckpoint:
    return PromotedCheckpoint(
        run=name.run, step=name.step, checkpoint_digest=checkpoint_digest(name)
    )
