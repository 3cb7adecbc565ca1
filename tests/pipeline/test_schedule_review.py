"""The review that a schedule writes of what it has evaluated: real evaluations, real files."""

import datetime

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from manylabel.eval.errors import EvaluationError
from manylabel.eval.review.store import find_review, read_review
from manylabel.eval.statistics.differences import Verdict
from manylabel.eval.store.names import EvaluationName
from manylabel.eval.store.promotions import PromotedCheckpoint, Promotion, record_promotion
from manylabel.pipeline.schedule_review import review_against_champion
from manylabel.pipeline.score import score_predictions

IMAGES, CLASSES = 150, 12
LABELS = [
    sorted(set(np.random.default_rng(row).integers(0, CLASSES, 3).tolist()))
    for row in range(IMAGES)
]
IDS = [f"{row:03}.jpg" for row in range(IMAGES)]


@pytest.fixture
def evaluated(tmp_path, make_dataset):
    """evaluated("run", skill): name and settings of an evaluation below tmp_path / "runs"."""
    counts = [1000 // (label + 1) for label in range(CLASSES)]
    dataset = make_dataset(dict(zip(IDS, LABELS, strict=True)), counts)

    def evaluated(run, skill, *settings):
        scores = np.random.default_rng(len(run)).normal(size=(IMAGES, CLASSES))
        for row, label_ids in enumerate(LABELS):
            scores[row, label_ids] += skill
        class_ids = np.argsort(-scores, axis=1)
        columns = {
            "image_id": IDS,
            "class_ids": class_ids.tolist(),
            "scores": np.take_along_axis(scores, class_ids, axis=1).tolist(),
        }
        path = tmp_path / f"{run}.parquet"
        pq.write_table(pa.table(columns), path)
        place = tmp_path / "runs" / run, 10
        summary = score_predictions(str(path), str(dataset.root), place, 0, settings, print)
        return EvaluationName(run, 10), summary.settings

    return evaluated


def promote(root, name):
    record_promotion(
        root,
        Promotion(
            number=1,
            person="ada",
            decided_at=datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC),
            reason="the first",
            candidate=PromotedCheckpoint(run=name.run, step=name.step, checkpoint_digest="c" * 64),
            replaced=None,
            evidence=None,
            checks_passed=(),
            checks_overridden=(),
            dataset_digest="d" * 64,
            code_version="1",
        ),
    )


def test_the_review_is_the_one_that_pages_look_for(evaluated, tmp_path):
    root = tmp_path / "runs"
    champion, settings = evaluated("champion", 1.5)
    assert review_against_champion(root, champion, settings) is None, "there is no champion"
    promote(root, champion)
    assert review_against_champion(root, champion, settings) is None, "it is the champion"
    assert not (root / "reviews").exists()
    for run, skill, verdict in (("worse", 0.1, Verdict.WORSE), ("better", 4.0, Verdict.BETTER)):
        name, _ = evaluated(run, skill)
        assert review_against_champion(root, name, settings) is verdict
        directory = find_review(root, name, champion, settings)
        assert directory is not None
        review = read_review(directory)
        assert (review.candidate.run, review.reference.run) == (run, "champion")
        assert [check.name for check in review.checks if not check.passed][-1:] == ["intact"]


def test_reviews_of_schedules_keep_no_checkpoint(evaluated, tmp_path):
    """Or retention would remove none: each is reviewed."""
    root = tmp_path / "runs"
    champion, settings = evaluated("champion", 1.5)
    promote(root, champion)
    name, _ = evaluated("candidate", 1.0)
    review_against_champion(root, name, settings)
    assert list(root.glob("*/kept/*.reviewed")) == []


def test_a_champion_without_such_an_evaluation_is_told(evaluated, tmp_path):
    champion, _ = evaluated("champion", 1.5)
    promote(tmp_path / "runs", champion)
    name, settings = evaluated("candidate", 1.0, "eval.k=5", "eval.precision_at=[1]")
    with pytest.raises(EvaluationError, match="champion"):
        review_against_champion(tmp_path / "runs", name, settings)
