"""The whole way on a few of the shipped pictures, through the command line and real processes."""

import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest

from manylabel.storage.dataset import Dataset
from manylabel.storage.schema import SplitName

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]


def test_the_demo_shows_a_table_and_draws_its_pictures(small_demo):
    printed, output = small_demo.printed, small_demo.output
    assert "weighted MAP@100" in re.sub(r"\s+", " ", printed)
    assert re.search(r"^ *baseline +0\.\d{4} +1\.00", printed, re.MULTILINE)
    for name in ("training_profile.png", "contact_sheet.png"):
        assert (output / name).read_bytes().startswith(b"\x89PNG")


def test_every_checkpoint_is_evaluated(small_demo):
    output = small_demo.output
    checkpoints = {path.name for path in (output / "run" / "checkpoints").iterdir()}
    summaries = (output / "run" / "evals").glob("*/*/summary.json")
    evaluated = {path.parents[1].name for path in summaries}
    assert len(checkpoints) >= 3
    assert evaluated == checkpoints


def test_no_process_leaves_a_file_in_tmpdir(small_demo):
    assert list(small_demo.temporary.iterdir()) == []


def test_the_same_command_again_does_no_work_twice(small_demo, manylabel):
    printed, again = small_demo.printed, manylabel(*small_demo.arguments)
    assert "nothing to do" in again
    assert "evaluated before" in again
    table = slice(printed.index("weighted MAP"), None)
    assert printed[table] == again[again.index("weighted MAP") :]


def test_the_run_is_listed_and_evaluated_with_other_weights(small_demo, manylabel, tmp_path):
    shutil.copytree(small_demo.output / "run", tmp_path / "run")  # The demo is for all tests.
    assert re.search(r"^ *run +\d{4}-", manylabel("runs", str(tmp_path)), re.MULTILINE)
    printed = manylabel("evaluate", str(tmp_path / "run"), "--set", "eval.weights.kind=uniform")
    assert "uniform weights" in printed


LOAD_AND_CLASSIFY = """
import json, pathlib, sys
import tensorflow as tf

classify = tf.saved_model.load(sys.argv[1]).signatures["serving_default"]
images = [path.read_bytes() for path in sorted(pathlib.Path(sys.argv[2]).iterdir())]
answer = classify(images=tf.constant(images))
ours = [name for name in sys.modules if name.partition(".")[0] == "manylabel"]
labels = [[label.decode() for label in row] for row in answer["labels"].numpy().tolist()]
print(json.dumps([sorted(ours), labels, answer["scores"].numpy().tolist()]))
"""


def test_the_exported_model_alone_agrees_with_the_evaluation(small_demo, exported_demo, tmp_path):
    output = small_demo.output
    dataset = Dataset.open(output / "dataset")
    heldout = list(dataset.iterate(SplitName.HELDOUT))[:20]
    assert len(heldout) == 20
    (tmp_path / "images").mkdir()
    for number, image in enumerate(heldout):
        (tmp_path / "images" / f"{number:02d}.jpg").write_bytes(image.encoded)
    alone = [sys.executable, "-c", LOAD_AND_CLASSIFY, exported_demo / "1"]
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
        expected = 1 / (1 + np.exp(-np.array(row["scores"][:5])))
        np.testing.assert_allclose(probabilities, expected, rtol=1e-4)
