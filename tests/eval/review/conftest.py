"""Runs with evaluations on a small dataset with near-duplicates, made by the real evaluator."""

import datetime
import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from manylabel.eval.config import EvalConfig
from manylabel.eval.job import Evaluator
from manylabel.eval.store.evaluations import write_evaluation
from manylabel.eval.store.names import EvaluationName
from manylabel.eval.store.predictions import PredictionBatch
from manylabel.eval.store.summary import Provenance
from manylabel.storage.dataset import Dataset

NOON = datetime.datetime(2026, 1, 2, 12, tzinfo=datetime.UTC)
IMAGES, CLASSES, K = 120, 14, 6
# Of every band but the last; the last two labels are on no held-out image.
TRAIN_COUNTS = [2500, 1200, 800, 400, 250, 150, 90, 60, 40, 25, 12, 6, 5, 4]


def held_out(seed: int = 7) -> dict[str, list[int]]:
    """One image has no labels; common labels are on more images."""
    rng = np.random.default_rng(seed)
    chances = np.array(TRAIN_COUNTS[:-2]) / 3000 + 0.05
    labels = {
        f"{row:03}.jpg": np.flatnonzero(rng.random(CLASSES - 2) < chances).tolist() or [row % 12]
        for row in range(IMAGES)
    }
    labels["005.jpg"] = []
    return labels


@pytest.fixture
def dataset(make_dataset: Callable[..., Dataset]) -> Dataset:
    """Three in ten images are near-duplicates of the one before."""
    rng = np.random.default_rng(3)
    groups = np.cumsum(rng.random(IMAGES) > 0.3)
    return make_dataset(
        held_out(), TRAIN_COUNTS, groups={f"{row:03}.jpg": int(g) for row, g in enumerate(groups)}
    )


class Runs:
    """A folder of runs, and what was predicted for each evaluation in it.

    Attributes:
        batches: Predictions by evaluation; of all images, without equal scores.
    """

    def __init__(self, root: Path, dataset: Dataset) -> None:
        self.root, self.dataset = root, dataset
        self.batches: dict[EvaluationName, PredictionBatch] = {}

    def add(
        self,
        run: str,
        step: int,
        skill: float = 0.5,
        seed: int = 0,
        on: Dataset | None = None,
        at: datetime.datetime = NOON,
        checkpoint: str | None = None,
        **settings: object,
    ) -> EvaluationName:
        """Evaluates predictions in which labels score higher by `skill`, with a noise of 1."""
        name = EvaluationName(run, step)
        rng = np.random.default_rng(seed)
        labels = held_out()
        scores = rng.normal(size=(IMAGES, CLASSES))
        for row, label_ids in enumerate(labels.values()):
            scores[row, label_ids] += skill
        class_ids = np.argsort(-scores, axis=1)[:, :K].astype(np.int32)
        best = np.take_along_axis(scores, class_ids, axis=1).astype(np.float32)
        self.batches[name] = batch = PredictionBatch(list(labels), class_ids, best)
        provenance = Provenance(
            run=str(self.root / run),
            checkpoint=checkpoint or str(self.root / run / "checkpoints" / f"{step:08d}"),
            checkpoint_digest=hashlib.sha256(f"{run} {step} {skill} {seed}".encode()).hexdigest(),
            step=step,
            samples=step * 32,
            code_version="1",
            evaluated_at=at,
        )
        config = EvalConfig.model_validate({"k": K, "precision_at": [1]} | settings)
        evaluation = Evaluator(on or self.dataset, config).evaluate([batch], provenance)
        write_evaluation(self.root / run, evaluation.summary, evaluation.tables)
        return name


@pytest.fixture
def runs(tmp_path: Path, dataset: Dataset) -> Runs:
    return Runs(tmp_path / "runs", dataset)
