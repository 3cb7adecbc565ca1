import numpy as np
import pytest

from manylabel.eval.predictions import PredictionBatch, write_predictions
from manylabel.eval.samples import choose_samples

HELDOUT = {f"{n}.jpg": [n % 3] for n in range(40)}


def predictions_for(image_ids, path):
    scores = np.tile(np.array([3, 2, 1], np.float32), (len(image_ids), 1))
    class_ids = np.tile(np.array([2, 0, 1], np.int32), (len(image_ids), 1))
    write_predictions(path, [PredictionBatch(image_ids, class_ids, scores)], "")
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
        assert sample.predictions == (("sea", 3.0), ("sky", 2.0))
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
