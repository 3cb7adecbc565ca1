"""A run's description leads back to its origin, and keeps other data and settings out."""

import shutil

import pyarrow.parquet as pq
import pytest
import yaml

from manylabel.storage.dataset import Dataset
from manylabel.storage.errors import DamagedDocumentError, OtherVersionError
from manylabel.storage.provenance import code_version
from manylabel.storage.tables import write_table
from manylabel.trainer.config import TrainerConfig
from manylabel.trainer.errors import TrainingError
from manylabel.trainer.runs.directory import (
    check_run,
    describe_run,
    open_run,
    read_labels,
)

CONFIG = TrainerConfig()


@pytest.fixture
def dataset(write_dataset, labelled_image):
    return write_dataset([[labelled_image(0)]], classes=2, names=["cat", "perro 🐕"])


def changed(config, path, value):
    """A copy of the settings with one of them changed."""
    settings = config.model_dump()
    *sections, key = path.split(".")
    place = settings
    for section in sections:
        place = place[section]
    place[key] = value
    return TrainerConfig.model_validate(settings)


def test_the_description_leads_back_to_dataset_settings_and_code(tmp_path, dataset):
    run = tmp_path / "runs" / "first"
    written = describe_run(run, dataset, CONFIG, {"trainer": {"l2": 0.1}, "eval": {}})
    read = open_run(run)
    assert read == written
    assert read.dataset == str(dataset.root)
    assert read.dataset_digest == dataset.content_digest
    assert read.labels_digest == dataset.manifest.labels_digest
    assert read.num_classes == 2
    assert read.trainer == CONFIG
    assert read.code_version == code_version()
    assert yaml.safe_load((run / "config.yaml").read_text()) == {"trainer": {"l2": 0.1}, "eval": {}}
    assert pq.read_table(run / "labels.parquet").equals(dataset.labels())


def test_the_dataset_is_found_from_another_directory(tmp_path, dataset, monkeypatch):
    monkeypatch.chdir(dataset.root.parent)
    written = describe_run(tmp_path / "run", Dataset.open(dataset.root.name), CONFIG, {})
    assert written.dataset == str(dataset.root)


def test_a_resumed_run_keeps_its_birthday_and_takes_the_new_settings(tmp_path, dataset):
    first = describe_run(tmp_path, dataset, CONFIG, {})
    again = describe_run(tmp_path, dataset, changed(CONFIG, "epochs", 9.0), {"epochs": 9})
    assert again.created == first.created
    assert open_run(tmp_path).trainer.epochs == 9
    assert yaml.safe_load((tmp_path / "config.yaml").read_text()) == {"epochs": 9}


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        ("model.width", 0.5, "model.width = 1.0, received 0.5;"),
        ("model.intermediate_activation", "elu", "activation = none, received elu;"),
        ("model.head_bias", "zero", "head_bias = prior, received zero;"),
        ("loss.kind", "softmax", "loss.kind = sigmoid, received softmax;"),
        ("loss.class_reduction", "mean", "loss.class_reduction = sum, received mean;"),
        ("precision", "mixed_bfloat16", "precision = float32, received mixed_bfloat16;"),
        ("optimizer", {"name": "sgd"}, "optimizer.name = rmsprop, received sgd;"),
        ("input.seed", 1, "input.seed = 0, received 1;"),
        ("input.shuffle_block", 7, "input.shuffle_block = 32, received 7;"),
        ("input.shuffle_mix", 7, "input.shuffle_mix = 128, received 7;"),
        ("input.framing.fit", "pad", "input.framing.fit = crop, received pad;"),
    ],
)
def test_settings_that_would_change_what_is_stored_are_refused(
    tmp_path, dataset, path, value, told
):
    describe_run(tmp_path, dataset, CONFIG, {"before": 1})
    with pytest.raises(TrainingError, match=rf"trainer\..*{told} use another --run"):
        describe_run(tmp_path, dataset, changed(CONFIG, path, value), {"after": 1})
    assert open_run(tmp_path).trainer == CONFIG
    assert yaml.safe_load((tmp_path / "config.yaml").read_text()) == {"before": 1}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("epochs", 2.0),
        ("schedule.learning_rate", 0.5),
        ("optimizer.epsilon", 0.5),
        ("topology.workers", 7),
        ("topology.parameter_shards", 3),
        ("input.batch_size", 9),
        ("input.augmentation.flip", False),
        ("checkpoints.keep", None),
        ("failures.max_bad_records", 0),
        ("model.initial_weights", "/elsewhere/x.keras"),
    ],
)
def test_other_settings_may_change_between_starts(tmp_path, dataset, path, value):
    describe_run(tmp_path, dataset, CONFIG, {})
    config = changed(CONFIG, path, value)
    assert describe_run(tmp_path, dataset, config, {}).trainer == config


@pytest.mark.parametrize("names", [["perro 🐕", "cat"], ["cat", "perro 🐕", "zebra"]])
def test_another_dataset_is_refused_and_the_run_is_as_it_was(
    tmp_path, dataset, write_dataset, labelled_image, names
):
    """Renumbered labels, as many as before or not; the fingerprint of the input is the same."""
    run = tmp_path / "run"
    describe_run(run, dataset, CONFIG, {})
    before = {path: path.read_bytes() for path in run.iterdir()}
    shutil.rmtree(dataset.root)
    other = write_dataset([[labelled_image(0)]], classes=len(names), names=names)
    assert other.manifest.fingerprint == dataset.manifest.fingerprint
    with pytest.raises(
        TrainingError, match=r"expected the dataset that it was .*train another run"
    ):
        describe_run(run, other, CONFIG, {"after": 1})
    assert {path: path.read_bytes() for path in run.iterdir()} == before


def test_a_label_table_of_another_dataset_is_noticed(tmp_path, dataset):
    description = describe_run(tmp_path, dataset, CONFIG, {})
    assert read_labels(tmp_path, description).equals(dataset.labels())
    table = dataset.labels()
    swapped = table.set_column(1, "name", table.column("name").take([1, 0]))
    write_table(tmp_path / "labels.parquet", swapped.cast(table.schema))
    with pytest.raises(TrainingError, match=r"expected the 2 labels .* received 2 others; copy"):
        read_labels(tmp_path, description)


def test_checkpoints_without_a_description_are_not_gone_on_with(tmp_path, dataset):
    (tmp_path / "checkpoints" / "00000000").mkdir(parents=True)  # of a job that found no cluster
    check_run(tmp_path, dataset, CONFIG)
    (tmp_path / "checkpoints" / "00000020").mkdir()
    with pytest.raises(TrainingError, match=r"expected run\.json beside the checkpoints"):
        check_run(tmp_path, dataset, CONFIG)


def test_a_moved_dataset_is_the_same(tmp_path, dataset):
    describe_run(tmp_path / "run", dataset, CONFIG, {})
    moved = dataset.root.rename(tmp_path / "moved")
    description = describe_run(tmp_path / "run", Dataset.open(moved), CONFIG, {})
    assert description.dataset == str(moved)


def test_a_directory_that_is_no_run_says_what_to_do(tmp_path):
    with pytest.raises(TrainingError, match=r"found no run\.json.*manylabel runs"):
        open_run(tmp_path)
    with pytest.raises(TrainingError, match=r"found no run\.json"):
        open_run(tmp_path / "missing")


def test_a_description_that_cannot_be_read_is_one_clear_line(tmp_path):
    for text, error, message in (
        ("", DamagedDocumentError, r"run\.json: not a run description \(the file"),
        ('{"format_version": 1, "dataset": 3}', DamagedDocumentError, "description \\(dataset"),
        ('{"dataset": "d"}', OtherVersionError, "of format version 1, received none; use the ver"),
    ):
        (tmp_path / "run.json").write_text(text)
        with pytest.raises(error, match=message) as caught:
            open_run(tmp_path)
        assert "\n" not in str(caught.value)
