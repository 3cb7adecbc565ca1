import numpy as np
import pytest

from manylabel.eval.samples import choose_samples
from manylabel.eval.store.predictions import (
    PredictionBatch,
    PredictionOrigin,
    ScoreKind,
    write_predictions,
)

HELDOUT = {f"{n}.jpg": [n % 3] for n in range(40)}


def predictions_for(image_ids, path, kind=ScoreKind.LOGIT):
    origin = PredictionOrigin(dataset_digest="", checkpoint_digest="", score_kind=kind, k=3)
    scores = np.tile(np.array([0, -2, -200], np.float32), (len(image_ids), 1))
    class_ids = np.tile(np.array([2, 0, 1], np.int32), (len(image_ids), 1))
    write_predictions(path, [PredictionBatch(image_ids, class_ids, scores)], origin)
    return path


@pytest.fixture
def dataset(make_dataset):
    return make_dataset(HELDOUT, [1, 1, 1], ["sky", "dog", "sea"], encoded=b"pixels")


def test_samples_hold_names_and_best_predictions(dataset, tmp_path):
    path = predictions_for(list(HELDOUT), tmp_path / "p.parquet")
    samples = choose_samples(dataset, path, count=5, top=2)
    assert len({sample.image_id for sample in samples}) == 5
    for sample in samples:
        (label,) = HELDOUT[sample.image_id]
        assert sample.labels == (["sky", "dog", "sea"][label],)
        # The sigmoids of 0 and -2.
        assert [name for name, _ in sample.predictions] == ["sea", "sky"]
        assert [value for _, value in sample.predictions] == pytest.approx([0.5, 0.11920292])
        assert sample.encoded == b"pixels"


def test_the_choice_depends_on_the_image_ids_alone(dataset, make_dataset, tmp_path):
    path = predictions_for(list(HELDOUT), tmp_path / "p.parquet")
    chosen = [sample.image_id for sample in choose_samples(dataset, path, count=5)]
    shuffled = list(reversed(HELDOUT))
    other = make_dataset([(name, HELDOUT[name]) for name in shuffled], [1, 1, 1])
    path = predictions_for(shuffled, tmp_path / "q.parquet")
    assert [sample.image_id for sample in choose_samples(other, path, count=5)] == chosen
    # Not the first ones of the list, which a folder tree would fill with one label.
    assert chosen != list(HELDOUT)[:5]


def test_fewer_images_than_wanted_are_all_taken(dataset, tmp_path):
    path = predictions_for(list(HELDOUT), tmp_path / "p.parquet")
    assert len(choose_samples(dataset, path, count=100)) == 40


@pytest.mark.parametrize(
    ("kind", "score", "probability"),
    [
        (ScoreKind.LOGIT, 0.0, 0.5),
        (ScoreKind.LOGIT, 1000.0, 1.0),
        (ScoreKind.LOGIT, -1000.0, 0.0),
        (ScoreKind.LOG_PROBABILITY, 0.0, 1.0),
        (ScoreKind.LOG_PROBABILITY, -0.6931471805599453, 0.5),
        (ScoreKind.LOG_PROBABILITY, -1000.0, 0.0),
    ],
)
def test_a_score_stands_for_a_probability(kind, score, probability):
    assert kind.probability(score) == pytest.approx(probability)
