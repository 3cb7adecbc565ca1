"""Two evaluations of a small dataset and their review, made by the evaluator from predictions."""

import datetime
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from starlette.testclient import TestClient

from manylabel.deploy.dashboard.app import create_app
from manylabel.deploy.dashboard.reading import Store
from manylabel.deploy.dashboard.security import Access
from manylabel.eval.config import EvalConfig
from manylabel.eval.history import build_history
from manylabel.eval.job import Evaluator
from manylabel.eval.review.build import build_review
from manylabel.eval.review.store import write_review
from manylabel.eval.store.evaluations import predictions_path
from manylabel.eval.store.names import EvaluationName
from manylabel.eval.store.predictions import (
    PredictionBatch,
    PredictionOrigin,
    ScoreKind,
    write_predictions,
)
from manylabel.eval.store.promotions import PromotedCheckpoint, Promotion, record_promotion
from manylabel.eval.store.summary import Provenance
from manylabel.storage.dataset import Dataset
from manylabel.trainer.config import TrainerConfig
from manylabel.trainer.runs.directory import DESCRIPTION, RunDescription

IMAGES, CLASSES, K = 60, 16, 6
NAMES = ["<b>bold</b>", "école", "sea, sand", 'say "cheese"', *(f"label {c}" for c in range(4, 16))]
TRAIN_COUNTS = [2500, 1200, 800, 400, 250, 150, 90, 60, 40, 25, 12, 6, 5, 4, 3, 2]
NEVER_HELD_OUT = 15
NOON = datetime.datetime(2026, 1, 2, 12, tzinfo=datetime.UTC)
NEW, OLD = EvaluationName("new", 200), EvaluationName("old", 100)


@dataclass
class Reviewed:
    """A folder of runs in which new@200 was reviewed against old@100.

    Attributes:
        labels: Of each image by row.
        rankings: int32 [I, K], by evaluation.
    """

    root: Path
    dataset: Dataset
    labels: list[list[int]]
    rankings: dict[EvaluationName, NDArray[np.int32]]
    settings: str = ""
    review: Path = Path()

    def evaluate(
        self, name: EvaluationName, skill: float, seed: int, at: datetime.datetime = NOON
    ) -> None:
        """Evaluates predictions in which labels score higher by `skill`, with a noise of 1."""
        rng = np.random.default_rng(seed)
        scores = rng.normal(size=(IMAGES, CLASSES))
        for row, label_ids in enumerate(self.labels):
            scores[row, label_ids] += skill
        class_ids = np.argsort(-scores, axis=1)[:, :K].astype(np.int32)
        best = np.take_along_axis(scores, class_ids, axis=1).astype(np.float32)
        ids = self.dataset.heldout_images().column("image_id").to_pylist()
        digest = f"{seed:02}" * 32
        origin = PredictionOrigin(
            dataset_digest=self.dataset.content_digest,
            checkpoint_digest=digest,
            score_kind=ScoreKind.LOGIT,
            k=K,
        )
        # Not in the order of the rows, which nobody promises.
        order = rng.permutation(IMAGES)
        batches = [
            PredictionBatch([ids[row] for row in part], class_ids[part], best[part])
            for part in np.array_split(order, 4)
        ]
        run = self.root / name.run
        write_predictions(predictions_path(run, name.step), batches, origin)
        RunDescription(
            dataset=str(self.dataset.root),
            dataset_digest=self.dataset.content_digest,
            dataset_settings={},
            labels_digest=self.dataset.manifest.labels_digest,
            num_classes=CLASSES,
            code_version="1",
            created=NOON,
            trainer=TrainerConfig(),
        ).write(run / DESCRIPTION)
        provenance = Provenance(
            run=str(run),
            checkpoint=str(run / "checkpoints" / f"{name.step:08d}"),
            checkpoint_digest=digest,
            step=name.step,
            samples=name.step * 32,
            code_version="1",
            evaluated_at=at,
        )
        config = EvalConfig.model_validate({"k": K, "precision_at": [1]})
        summary = Evaluator(self.dataset, config).evaluate_files(run, provenance)
        self.settings = summary.settings
        self.rankings[name] = class_ids
        build_history(self.root, name.run, summary.settings, None, _refuse)

    def write_review(
        self, candidate: EvaluationName = NEW, reference: EvaluationName = OLD, margin: float = 0.0
    ) -> Path:
        tables = build_review(self.root, candidate, reference, margin=margin)
        self.review = write_review(self.root, tables)
        return self.review

    def evaluation(self, name: EvaluationName) -> Path:
        """Where an evaluation's tables lie."""
        return self.root / name.run / "evals" / f"{name.step:08d}" / self.settings

    def promote(self, name: EvaluationName) -> None:
        """Makes a checkpoint the first champion."""
        champion = PromotedCheckpoint(run=name.run, step=name.step, checkpoint_digest="c" * 64)
        record_promotion(
            self.root,
            Promotion(
                number=1,
                person="ada",
                decided_at=NOON,
                reason="the first",
                candidate=champion,
                replaced=None,
                evidence=None,
                checks_passed=(),
                checks_overridden=(),
                dataset_digest=self.dataset.content_digest,
                code_version="1",
            ),
        )

    def get(self, address: str) -> TestClient:
        """The answer of a server that has just been started."""
        app = create_app(Store(self.root, lambda: NOON), Access())
        return TestClient(app, base_url="http://127.0.0.1:8000").get(address)


def _refuse(error: Exception) -> None:
    raise error


def held_out() -> list[list[int]]:
    """Common labels are on more images; one image has none, one label no image."""
    rng = np.random.default_rng(7)
    chances = np.array(TRAIN_COUNTS[:NEVER_HELD_OUT]) / 3000 + 0.08
    labels = [np.flatnonzero(rng.random(NEVER_HELD_OUT) < chances).tolist() for _ in range(IMAGES)]
    labels = [each or [row % NEVER_HELD_OUT] for row, each in enumerate(labels)]
    labels[5] = []
    return labels


@pytest.fixture
def reviewed(tmp_path: Path, make_dataset: Callable[..., Dataset]) -> Reviewed:
    file = io.BytesIO()
    Image.new("RGB", (8, 8), "teal").save(file, "JPEG")
    labels = held_out()
    rng = np.random.default_rng(3)
    groups = np.cumsum(rng.random(IMAGES) > 0.3)
    ids = [f"folder, one/{row:03}.jpg" for row in range(IMAGES)]
    dataset = make_dataset(
        dict(zip(ids, labels, strict=True)),
        TRAIN_COUNTS,
        names=NAMES,
        encoded=file.getvalue(),
        groups=dict(zip(ids, groups.tolist(), strict=True)),
    )
    made = Reviewed(tmp_path / "runs", dataset, labels, {})
    made.evaluate(OLD, skill=0.5, seed=1)
    made.evaluate(EvaluationName("new", 100), skill=1.0, seed=2)
    made.evaluate(NEW, skill=2.5, seed=3)
    made.write_review()
    return made
