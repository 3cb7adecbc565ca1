"""The state that a fresh run starts from: it knows the labels' frequencies, and nothing more."""

import dataclasses
import math
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from manylabel.trainer.config import TrainerConfig
from manylabel.trainer.errors import TrainingError
from manylabel.trainer.networks.build import build_model
from manylabel.trainer.networks.losses import label_loss
from manylabel.trainer.program.initial_state import _became_of, write_initial_checkpoint
from manylabel.trainer.program.plan import record_order
from manylabel.trainer.records.batches import training_batches
from manylabel.trainer.runs.checkpoint import describe_checkpoint, load_weights

pytestmark = pytest.mark.slow

IMAGES = 24
# Class c is on the images 0 to COUNTS[c] - 1: the classes' ids say nothing about their frequency.
COUNTS = [2, 20, 5, 0, 12, 9, 1, 15, 3, 7]
MOST_FREQUENT_FIRST = [1, 7, 4, 5, 9, 2, 8, 0, 6, 3]


@pytest.fixture
def dataset(write_dataset, labelled_image):
    def image(number):
        labels = tuple(label for label, count in enumerate(COUNTS) if number < count)
        return dataclasses.replace(labelled_image(number, labels), confidences=(1.0,) * len(labels))

    # Held-out labels must not be counted.
    heldout = [labelled_image(100 + number, (0, 3)) for number in range(30)]
    train = [image(number) for number in range(IMAGES)]
    return write_dataset(train=[train[:10], train[10:]], heldout=[heldout], classes=len(COUNTS))


def settings(head_bias, loss="sigmoid", unknown="negative"):
    return TrainerConfig.model_validate(
        {
            "model": {"input_size": 32, "width": 0.125, "middle_repeats": 1}
            | ({} if head_bias is None else {"head_bias": head_bias}),
            "loss": {"kind": loss, "unknown": unknown},
            "input": {"batch_size": IMAGES},
            "topology": {"parameter_shards": 2},
        }
    )


def first_model(run, dataset, config, averaged):
    """The network of the checkpoint of step 0; averaged is how evaluation takes it."""
    weights = load_weights(
        describe_checkpoint(write_initial_checkpoint(run, dataset, config)), averaged=averaged
    )
    model = build_model(config.model, dataset.num_classes)
    weights.layout.assign(model, weights.parameters, weights.statistics)
    return model


def first_logits_and_loss(run, dataset, config):
    """Of all training images at once."""
    model = first_model(run, dataset, config, averaged=True)
    ((images, labels, _),) = training_batches(
        [(0, IMAGES)],
        record_order(dataset, config.input),
        dataset,
        config.input,
        config.model.input_size,
        lambda record: pytest.fail(str(record)),
    )
    logits = model(images, training=False)
    return logits, float(label_loss(logits, labels, config.loss))


def test_without_training_the_network_is_the_frequency_baseline(dataset, tmp_path):
    logits, loss = first_logits_and_loss(tmp_path, dataset, settings(None))
    ranking = tf.argsort(logits, direction="DESCENDING").numpy()
    np.testing.assert_array_equal(ranking, [MOST_FREQUENT_FIRST] * IMAGES)
    # The entropy of 10 independent labels of these frequencies, with half an image of smoothing.
    expected = sum(
        -n / 24 * math.log((n + 0.5) / 25) - (24 - n) / 24 * math.log((24 - n + 0.5) / 25)
        for n in COUNTS
    )
    assert loss == pytest.approx(expected, rel=0.01)
    assert expected < 0.7 * 10 * math.log(2)


def test_from_zero_it_knows_nothing(dataset, tmp_path):
    logits, loss = first_logits_and_loss(tmp_path, dataset, settings("zero"))
    assert loss == pytest.approx(10 * math.log(2), rel=0.01)
    np.testing.assert_allclose(logits, 0, atol=0.1)


def test_a_softmax_begins_at_the_shares_of_the_labels(dataset, tmp_path):
    logits, _ = first_logits_and_loss(tmp_path, dataset, settings("prior", "softmax"))
    # 74 labels and half a one for each of 10 classes.
    shares = [(n + 0.5) / 79 for n in COUNTS]
    np.testing.assert_allclose(tf.nn.softmax(logits), [shares] * IMAGES, rtol=0.05)


def test_without_the_unknown_a_label_begins_at_its_odds_among_what_is_known(
    write_dataset, labelled_image, tmp_path
):
    """Label 0 is on 3 of 12 images and verified to be absent on the others; 1 is on those; 2 is
    verified to be absent on two; of 3 nothing is known."""
    images = []
    for number in range(12):
        present = (0,) if number < 3 else (1,)
        absent = (() if number < 3 else (0,)) + ((2,) if number < 2 else ())
        images.append(dataclasses.replace(labelled_image(number, present), negative_ids=absent))
    dataset = write_dataset(train=[images[:5], images[5:]], classes=4)
    logits_of_known = [math.log(3.5 / 9.5), math.log(9.5 / 0.5), math.log(0.5 / 2.5), 0]
    model = first_model(tmp_path, dataset, settings(None, unknown="ignore"), averaged=False)
    np.testing.assert_allclose(model.get_layer("predictions").bias, logits_of_known, rtol=1e-6)


def test_the_unknown_cannot_be_ignored_where_nothing_was_verified(dataset, tmp_path):
    with pytest.raises(TrainingError, match=r"no absence of a label was verified .* 24 training"):
        write_initial_checkpoint(tmp_path / "run", dataset, settings(None, unknown="ignore"))
    assert not (tmp_path / "run").exists()


def test_a_number_is_every_classs_bias_and_nothing_else_changes(dataset, tmp_path):
    ten, zero = (
        first_model(tmp_path / name, dataset, settings(bias), averaged=False)
        for name, bias in (("ten", -10), ("zero", "zero"))
    )
    for variable, other in zip(ten.weights, zero.weights, strict=True):
        difference = variable.numpy() - other.numpy()
        expected = -10 if variable.path == "predictions/bias" else 0
        np.testing.assert_array_equal(difference, np.full(variable.shape, expected))


def test_a_job_that_watches_a_run_loads_no_tensorflow():
    script = "import sys, manylabel.trainer.job; print('tensorflow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.split() == ["False"], done.stderr


@pytest.mark.parametrize(
    ("code", "weights", "told"),
    [
        (-9, "", "was ended by signal 9 (SIGKILL): it had too little memory"),
        (-11, "", "was ended by signal 11 (SIGSEGV); give the same command again"),
        (
            -11,
            "w.h5",
            "was ended by signal 11 (SIGSEGV): it cannot read w.h5, which is damaged then",
        ),
        (1, "", "was ended with exit code 1; give the same command again"),
        (None, "w.h5", "hangs, and was ended; give the same command again"),
    ],
)
def test_too_little_memory_is_told_of_what_the_system_killed(code, weights, told):
    assert _became_of(code, weights) == f"the process that makes the first weights {told}"
