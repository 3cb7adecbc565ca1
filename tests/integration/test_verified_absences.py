"""A verified absence, from the catalog to the gradient."""

import csv

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from manylabel.preprocessing.config import PreprocessingConfig
from manylabel.preprocessing.job import preprocess
from manylabel.storage.dataset import Dataset
from manylabel.trainer.networks.loss_config import LossConfig
from manylabel.trainer.networks.losses import label_loss
from manylabel.trainer.program.plan import record_order
from manylabel.trainer.records.batches import training_batches
from manylabel.trainer.records.config import InputConfig

pytestmark = pytest.mark.integration

LABELS = ["cat", "dog", "eel", "fox"]
# What somebody looked at: 1 is there, 0 is not, .5 may be; nobody looked for the others.
JUDGED = {
    "0.png": {"cat": 1.0, "dog": 0.0},
    "1.png": {"dog": 0.5, "fox": 0.0},
    "2.png": {"eel": 1.0},
    "3.png": {"fox": 1.0, "cat": 0.0, "eel": 0.0},
}


@pytest.fixture
def dataset(tmp_path):
    for number, name in enumerate(JUDGED):
        pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), np.uint8)
        Image.fromarray(pixels).resize((64, 64)).save(tmp_path / name)
    with (tmp_path / "labels.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("image_path", "label", "confidence"))
        for name, judged in JUDGED.items():
            rows.writerows((name, label, confidence) for label, confidence in judged.items())
    settings = {
        "catalog": {"path": str(tmp_path / "labels.csv")},
        "heldout": {"size": 0},
        "executor": "inline",
    }
    preprocess(PreprocessingConfig.model_validate(settings), str(tmp_path / "dataset"))
    return Dataset.open(tmp_path / "dataset")


@pytest.mark.parametrize("unknown", ["negative", "ignore"])
def test_a_confidence_of_0_in_the_catalog_reaches_the_loss(dataset, unknown):
    config = InputConfig(batch_size=4)
    stream = training_batches(
        [(0, 4)],
        record_order(dataset, config),
        dataset,
        config,
        32,
        lambda record: pytest.fail(str(record)),
    )
    ((_, labels, positions),) = stream
    logits = tf.constant(np.random.default_rng(9).normal(0, 2, (4, 4)), tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = label_loss(logits, labels, LossConfig(unknown=unknown))
    gradient = np.asarray(tf.convert_to_tensor(tape.gradient(loss, logits)))

    assert dataset.label_names() == LABELS
    names = [image.image_id for image in dataset.iterate("train")]
    _, _, places = record_order(dataset, config).locate(0, 4)
    for row, position in enumerate(positions):
        judged = JUDGED[names[places[position]]]
        for column, label in enumerate(LABELS):
            pull = 1 / (1 + np.exp(-float(logits[row, column]))) - judged.get(label, 0)
            counts = unknown == "negative" or label in judged
            assert gradient[row, column] == pytest.approx(counts * pull / 4, rel=1e-5)
