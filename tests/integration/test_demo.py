"""The whole way on a few of the shipped pictures, through the command line and real processes."""

import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from manylabel.storage.dataset import Dataset
from manylabel.storage.schema import SplitName

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

FOLDERS = ("animals", "food")
PICTURES = 64


@pytest.fixture(scope="module")
def small_demo(tmp_path_factory):
    """A demo that is over: (arguments, what it printed, its output directory)."""
    pictures = Path(__file__).resolve().parents[2] / "examples" / "openclipart"
    directory = tmp_path_factory.mktemp("demo")
    catalog, output = directory / "labels.csv", directory / "output"
    with (pictures / "labels.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["image_path"].split("/")[1] in FOLDERS]
    chosen = sorted({row["image_path"] for row in rows})[:: 1 + len(rows) // 400][:PICTURES]
    with catalog.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(row for row in rows if row["image_path"] in chosen)
    settings = {
        "preprocessing.catalog.path": catalog,
        "preprocessing.catalog.image_root": pictures,
        "preprocessing.labels.minimum_count": 2,
        "preprocessing.heldout.size": 0.4,  # So that there are the 20 that the export test wants.
        "preprocessing.shards.images_per_shard": 16,
        "trainer.model.input_size": 32,
        "trainer.model.width": 0.125,
        "trainer.model.middle_repeats": 0,
        "trainer.input.batch_size": 8,
        "trainer.input.shuffle_block": 4,
        "trainer.epochs": 2,
        "trainer.checkpoints.every_samples": 48,
    }
    arguments = ["demo", "--output", str(output)]
    arguments += [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    return arguments, manylabel(*arguments), output


def manylabel(*arguments, stdout=subprocess.PIPE):
    command = [str(Path(sys.executable).with_name("manylabel")), *arguments]
    # The level of TensorFlow's log is the command's to set.
    environment = {k: v for k, v in os.environ.items() if k != "TF_CPP_MIN_LOG_LEVEL"}
    done = subprocess.run(
        command, env=environment, stdout=stdout, stderr=subprocess.PIPE, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def test_the_demo_shows_a_table_and_draws_its_pictures(small_demo):
    _, printed, output = small_demo
    assert "weighted MAP@100" in re.sub(r"\s+", " ", printed)
    assert re.search(r"^ *baseline +0\.\d{4} +1\.00", printed, re.MULTILINE)
    for name in ("training_profile.png", "contact_sheet.png"):
        assert (output / name).read_bytes().startswith(b"\x89PNG")


def test_every_checkpoint_is_evaluated(small_demo):
    _, _, output = small_demo
    checkpoints = {path.name for path in (output / "run" / "checkpoints").iterdir()}
    evaluated = {path.parent.name for path in (output / "run" / "evals").glob("*/summary.json")}
    assert len(checkpoints) >= 3
    assert evaluated == checkpoints


def test_the_same_command_again_does_no_work_twice(small_demo):
    arguments, printed, _ = small_demo
    again = manylabel(*arguments)
    assert "nothing to do" in again
    assert "evaluated before" in again
    table = slice(printed.index("weighted MAP"), None)
    assert printed[table] == again[again.index("weighted MAP") :]


def test_the_run_is_listed_and_evaluated_with_other_weights(small_demo):
    _, _, output = small_demo
    assert re.search(r"^ *run +\d{4}-", manylabel("runs", str(output)), re.MULTILINE)
    printed = manylabel("evaluate", str(output / "run"), "--set", "eval.weights.kind=uniform")
    assert "uniform weights" in printed


LOAD_AND_CLASSIFY = """
import json, pathlib, sys
import tensorflow as tf

classify = tf.saved_model.load(sys.argv[1]).signatures["serving_default"]
images = [path.read_bytes() for path in sorted(pathlib.Path(sys.argv[2]).iterdir())]
answer = classify(images=tf.constant(images))
ours = {"pipeline", "preprocessing", "trainer", "eval", "deploy"} & set(sys.modules)
labels = [[label.decode() for label in row] for row in answer["labels"].numpy().tolist()]
print(json.dumps([sorted(ours), labels, answer["scores"].numpy().tolist()]))
"""


def test_the_exported_model_alone_agrees_with_the_evaluation(small_demo, tmp_path):
    _, _, output = small_demo
    export = ["export", str(output / "run"), "--output", str(tmp_path / "model")]
    reading, closed = os.pipe()
    os.close(reading)
    with open(closed, "wb") as nobody_reads:
        manylabel(*export, stdout=nobody_reads)

    dataset = Dataset.open(output / "dataset")
    heldout = list(dataset.iterate(SplitName.HELDOUT))[:20]
    assert len(heldout) == 20
    (tmp_path / "images").mkdir()
    for number, image in enumerate(heldout):
        (tmp_path / "images" / f"{number:02d}.jpg").write_bytes(image.encoded)
    alone = [sys.executable, "-c", LOAD_AND_CLASSIFY, tmp_path / "model" / "saved_model"]
    done = subprocess.run(
        [*alone, tmp_path / "images"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    ours, labels, scores = json.loads(done.stdout.splitlines()[-1])
    assert ours == [], "it needs nothing of this project"

    *_, newest = sorted((output / "run" / "evals").iterdir())
    rows = pq.read_table(newest / "predictions.parquet").to_pylist()
    predicted = {row["image_id"]: row for row in rows}
    names = dataset.label_names()
    for image, best, probabilities in zip(heldout, labels, scores, strict=True):
        row = predicted[image.image_id]
        assert best == [names[class_id] for class_id in row["class_ids"][:5]]
        np.testing.assert_allclose(probabilities, row["scores"][:5], rtol=1e-4)
