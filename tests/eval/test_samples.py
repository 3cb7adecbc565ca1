import numpy as np
import pytest

from manylabel.eval.samples import Sample, SampleLabel, choose_samples
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
    names = ["sky", "dog", "sea"]
    for sample in samples:
        (label,) = HELDOUT[sample.image_id]
        assert [each.name for each in sample.labels] == [names[label]]
        # The sigmoids of 0 and -2.
        assert [name for name, _ in sample.predictions] == ["sea", "sky"]
        assert [value for _, value in sample.predictions] == pytest.approx([0.5, 0.11920292])
        ranking = ["sea", "sky", "dog"]
        others = [(name, place) for place, name in enumerate(ranking, start=1)]
        assert list(sample.others) == [each for each in others if each[0] != names[label]][:2]
        assert (sample.encoded, sample.k) == (b"pixels", 3)


def test_labels_have_their_ranks_among_predictions_and_in_the_baseline(make_dataset, tmp_path):
    """Of equally frequent labels the one of lower class id comes first, as in the baseline."""
    labels = [0, 1, 2, 3, 4, 5]
    names = [f"label {n}" for n in labels]
    dataset = make_dataset({"a.jpg": labels}, [3, 70, 5, 70, 1, 0], names)
    path = predictions_for(["a.jpg"], tmp_path / "p.parquet")
    (sample,) = choose_samples(dataset, path)
    assert sample.labels == (
        SampleLabel("label 0", 3, rank=2, baseline_rank=4),
        SampleLabel("label 1", 70, rank=3, baseline_rank=1),
        SampleLabel("label 2", 5, rank=1, baseline_rank=3),
        SampleLabel("label 3", 70, rank=None, baseline_rank=2),
        SampleLabel("label 4", 1, rank=None, baseline_rank=5),
        SampleLabel("label 5", 0, rank=None, baseline_rank=6),
    )
    assert sample.others == ()
    alike = make_dataset({"a.jpg": list(range(40))}, [7] * 40)
    (sample,) = choose_samples(alike, path)
    assert [label.baseline_rank for label in sample.labels] == list(range(1, 41))


def sample_of(*labels, k=100):
    return Sample("a", b"", tuple(labels), (), (), k)


def test_the_rarest_found_and_the_most_surprising_missed_come_first():
    root = SampleLabel("root", 9000, rank=3, baseline_rank=1)
    common = SampleLabel("common", 800, rank=40, baseline_rank=40)
    rare = SampleLabel("rare", 20, rank=100, baseline_rank=9000)
    low = SampleLabel("low", 5000, rank=60, baseline_rank=6)
    absent = SampleLabel("absent", 3000, rank=None, baseline_rank=10)
    both_rare = SampleLabel("rare and absent", 7, rank=None, baseline_rank=12_000)
    sample = sample_of(root, common, rare, low, absent, both_rare)
    assert sample.found == [rare, common, root]
    assert sample.missed == [absent, low, both_rare]
    # Six labels fill six places at the best: to be third instead of first loses nothing.
    surprises = [sample.surprise(label) for label in sample.labels]
    assert surprises == [0, 0, 100 - 9000, 60 - 6, 101 - 10, 101 - 12_000]


def test_a_ranking_with_all_labels_in_front_has_missed_none():
    labels = [SampleLabel(str(n), 100 - n, rank=10 - n, baseline_rank=n + 1) for n in range(10)]
    assert sample_of(*labels).missed == []
    lower = SampleLabel("x", 5, rank=11, baseline_rank=10)
    assert sample_of(*labels[1:], lower).missed == [lower]


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
