"""Labels of new images against the evaluation's, and what becomes of files that are no images."""

import csv
import datetime
import json
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from manylabel.deploy.errors import DeploymentError
from manylabel.eval.store.promotions import PromotedCheckpoint, Promotion, record_promotion
from manylabel.pipeline.errors import CommandError
from manylabel.pipeline.predict import predict_labels
from manylabel.preprocessing.pictures.images import store
from manylabel.trainer.predict import (
    Predictor,
    load_checkpoint,
    new_model,
    probabilities,
    top_classes,
)
from manylabel.trainer.records.augment import evaluation_image
from manylabel.trainer.runs.checkpoint import list_checkpoints
from manylabel.trainer.runs.directory import open_run

pytestmark = pytest.mark.slow

# Formats that the exported graph refuses.
CONVERTED = {"animation.gif": "GIF", "picture.bmp": "BMP", "large.webp": "WEBP"}


def nobody(event):
    pass


def predict(model, images, output, step=None, top_k=None, batch_size=5, on_event=nobody):
    return predict_labels(model, images, output, step, top_k, batch_size, on_event)


def rows_of(path):
    return {row["image_path"]: row for row in pq.read_table(path).to_pylist()}


@pytest.fixture(scope="module")
def folder(originals, encode, tmp_path_factory):
    """The originals, not what is stored of them; some below folders, and one of each bad kind."""
    folder = tmp_path_factory.mktemp("new images")
    (folder / "below" / "further").mkdir(parents=True)
    for number, (name, data) in enumerate(originals.items()):
        place = folder / ("", "below", "below/further")[number % 3]
        (place / name).write_bytes(data)
    for seed, (name, format_) in enumerate(CONVERTED.items(), start=200):
        (folder / name).write_bytes(encode(seed, format_))
    (folder / "cut.jpg").write_bytes(originals["large.jpg"][:2000])
    (folder / "page.jpg").write_text("<html>")
    (folder / "scan.tiff").write_bytes(encode(300, "TIFF"))
    (folder / "too large.jpg").write_bytes(originals["small0.jpg"].ljust(400_001, b"\0"))
    (folder / "too many pixels.png").write_bytes(encode(301, "PNG", 1000, 401))
    (folder / "empty.png").write_bytes(b"")
    (folder / "notes.txt").write_text("notes")
    return folder


BAD = {
    "cut.jpg": "cannot be decoded",
    "page.jpg": "not an image of a known format: expected one of JPEG, PNG",
    "scan.tiff": "convert it to one of them",
    "too large.jpg": "too many bytes: 400001 bytes, images.max_bytes is 400000",
    "too many pixels.png": "too many pixels: 1000x401",
    "empty.png": "empty file",
}


@pytest.fixture(scope="module")
def by_run(run, folder, tmp_path_factory):
    output = tmp_path_factory.mktemp("by run") / "labels.parquet"
    return predict(run, folder, output), rows_of(output)


def test_originals_of_heldout_images_get_the_evaluations_answer(by_run, run, dataset):
    """Of all their formats, sizes and orientations, to rounding; no other way is so near."""
    _, rows = by_run
    rows = {path.rpartition("/")[2]: row for path, row in rows.items()}
    names = dataset.label_names()
    predicted = [
        image
        for batch in Predictor(run, dataset, k=5).predict(list_checkpoints(run)[-1], batch_size=4)
        for image in zip(*batch, strict=True)
    ]
    assert len(predicted) >= 8
    for image_id, class_ids, logits in predicted:
        row = rows[image_id]
        assert row["labels"] == [names[class_id] for class_id in class_ids]
        np.testing.assert_allclose(row["scores"], 1 / (1 + np.exp(-logits)), rtol=1e-5)
        assert row["fault"] is None


@pytest.mark.parametrize("name", [*CONVERTED, "below/large.png", "large.jpg"])
def test_other_formats_are_seen_as_preprocessing_would_store_them(
    by_run, folder, run, policy, dataset, name
):
    description = open_run(run)
    network = new_model(description)
    load_checkpoint(network, list_checkpoints(run)[-1], averaged=True)
    config = description.trainer
    path = next(path for path in folder.rglob(name.rpartition("/")[2]))
    encoded = store(path.read_bytes(), policy).encoded
    pixels = evaluation_image(tf.constant(encoded), 48, config.input.framing)[tf.newaxis]
    logits, class_ids = top_classes(network(pixels), config.loss.kind, 5)
    names = dataset.label_names()
    row = by_run[1][str(path.relative_to(folder))]
    assert row["labels"] == [names[class_id] for class_id in class_ids.numpy()[0]]
    expected = probabilities(logits, config.loss.kind).numpy()[0]
    np.testing.assert_allclose(row["scores"], expected, rtol=1e-5)


def test_a_run_and_its_export_agree(by_run, exported, folder, tmp_path):
    predict(exported, folder, tmp_path / "labels.parquet")
    rows = rows_of(tmp_path / "labels.parquet")
    assert rows.keys() == by_run[1].keys()
    for path, row in by_run[1].items():
        assert rows[path]["labels"] == row["labels"]
        assert rows[path]["fault"] == row["fault"]
        np.testing.assert_allclose(rows[path]["scores"], row["scores"], rtol=1e-5)


def test_the_file_says_which_model_it_was(by_run, exported, run, folder, tmp_path):
    origins = []
    for model in (run, exported):
        predict(model, folder / "below", tmp_path / "labels.parquet")
        metadata = pq.read_schema(tmp_path / "labels.parquet").metadata
        origins.append(json.loads(metadata[b"manylabel.model"]))
    assert origins[0] == origins[1] == json.loads((exported / "export.json").read_text())


def test_each_bad_file_has_its_fault_and_costs_no_other_its_labels(by_run, originals):
    report, rows = by_run
    assert list(rows) == sorted(rows)
    assert len(rows) == len(originals) + len(CONVERTED) + len(BAD)
    for name, fault in BAD.items():
        assert fault in rows[name]["fault"]
        assert rows[name]["labels"] == rows[name]["scores"] == []
    seen = [row for name, row in rows.items() if name not in BAD]
    assert all(row["fault"] is None and len(row["labels"]) == 5 for row in seen)
    assert (report.tally.seen, report.tally.faults) == (len(seen), len(BAD))
    told = "\n".join(report.lines())
    assert "6 could not be seen, `fault` says why; the first is cut.jpg: cannot be decoded" in told
    assert "left out 1 other files: .txt 1" in told


@pytest.mark.parametrize("batch_size", [1, 7, 1000])
def test_the_batch_size_changes_nothing(by_run, run, folder, tmp_path, batch_size):
    predict(run, folder, tmp_path / "labels.parquet", batch_size=batch_size)
    for path, row in rows_of(tmp_path / "labels.parquet").items():
        assert row["labels"] == by_run[1][path]["labels"]
        np.testing.assert_allclose(row["scores"], by_run[1][path]["scores"], rtol=1e-5)


def test_csv_has_a_row_a_label_and_a_row_a_fault(by_run, run, folder, tmp_path):
    predict(run, folder, tmp_path / "labels.csv")
    with (tmp_path / "labels.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["image_path", "label", "score", "rank", "fault"]
    found = [row for row in rows if not row["fault"]]
    expected = [
        (path, label, np.float32(score), rank)
        for path, row in by_run[1].items()
        for rank, (label, score) in enumerate(
            zip(row["labels"], row["scores"], strict=True), start=1
        )
    ]
    received = [
        (row["image_path"], row["label"], np.float32(row["score"]), int(row["rank"]))
        for row in found
    ]
    assert received == expected
    faults = {row["image_path"]: row for row in rows if row["fault"]}
    assert faults.keys() == BAD.keys()
    assert {faults["cut.jpg"][name] for name in ("label", "score", "rank")} == {""}


def test_one_image_is_told_at_once(run, folder, by_run, tmp_path):
    report = predict(run, folder / "large.webp", tmp_path / "labels.parquet", top_k=2)
    assert list(rows_of(tmp_path / "labels.parquet")) == ["large.webp"]
    row = by_run[1]["large.webp"]
    lines = list(report.lines())
    assert lines[:2] == [
        f"{score:6.3f}  {label}"
        for label, score in zip(row["labels"][:2], row["scores"][:2], strict=True)
    ]
    assert "labels of 1 image by" in lines[2]


def test_the_step_and_the_number_of_labels_are_chosen(run, steps, dataset, folder, tmp_path):
    below, output = folder / "below", tmp_path / "labels.parquet"
    for step in steps:
        report = predict(run, below, output, step=step, top_k=100)
        assert report.model.endswith(f"run@{step}")
        origin = json.loads(pq.read_schema(output).metadata[b"manylabel.model"])
        assert origin["step"] == step
        assert {len(row["labels"]) for row in rows_of(output).values()} == {dataset.num_classes}
    with pytest.raises(DeploymentError, match="expected a checkpoint of step 4, found 3, 7"):
        predict(run, below, output, step=4)


def test_an_export_gives_at_most_the_labels_it_was_exported_with(exported, folder, tmp_path):
    output = tmp_path / "labels.parquet"
    predict(exported, folder / "below", output, top_k=2)
    assert {len(row["labels"]) for row in rows_of(output).values()} == {2}
    output.unlink()
    with pytest.raises(DeploymentError, match=r"at most the 5 labels .* received 6; export it"):
        predict(exported, folder / "below", output, top_k=6)
    with pytest.raises(CommandError, match=r"--step 3: .* is an exported model, of one checkpoint"):
        predict(exported, folder / "below", output, step=3)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_runs_stands_for_its_champion(run, steps, folder, tmp_path):
    root, output = tmp_path / "root", tmp_path / "labels.parquet"
    shutil.copytree(run, root / "first")
    with pytest.raises(CommandError, match="or a folder of runs that has a champion"):
        predict(root, folder / "below", output)
    promoted, newest = list_checkpoints(root / "first")
    champion = PromotedCheckpoint(
        run="first", step=promoted.step, checkpoint_digest=promoted.digest
    )
    decided_at = datetime.datetime(2025, 1, 2, tzinfo=datetime.UTC)
    promotion = Promotion(
        number=1,
        person="one",
        decided_at=decided_at,
        reason="first",
        candidate=champion,
        replaced=None,
        evidence=None,
        checks_passed=(),
        checks_overridden=(),
        dataset_digest=promoted.dataset_digest,
        code_version="0.1.0",
    )
    record_promotion(root, promotion)
    report = predict(root, folder / "below", output)
    assert report.model == f"{root / 'first'}@{steps[0]}"
    with pytest.raises(CommandError, match=r"--step 7: .* is a folder of runs, whose champion is"):
        predict(root, folder / "below", output, step=7)
    remade = champion.model_copy(update={"checkpoint_digest": newest.digest})
    record_promotion(root, promotion.model_copy(update={"number": 2, "candidate": remade}))
    with pytest.raises(CommandError, match="expected the checkpoint that was promoted, found ano"):
        predict(root, folder / "below", output)


def test_a_damaged_export_is_told_of(exported, folder, tmp_path):
    model = shutil.copytree(exported, tmp_path / "model")
    next((model / "1" / "variables").glob("*.data*")).write_bytes(b"")
    output = tmp_path / "labels.parquet"
    with pytest.raises(DeploymentError, match="1: cannot be loaded, export it again"):
        predict(model, folder / "below", output)
    shutil.rmtree(model / "1")
    with pytest.raises(DeploymentError, match="expected the model in 1, found none"):
        predict(model, folder / "below", output)
    assert not output.exists()


def test_what_only_dataset_making_refuses_is_answered(run, encode, tmp_path):
    """As the exported graph does: sides and proportions say what is worth learning from."""
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "tiny.png").write_bytes(encode(1, "PNG", 1, 1))
    (tmp_path / "images" / "long.png").write_bytes(encode(2, "PNG", 2000, 3))
    predict(run, tmp_path / "images", tmp_path / "labels.parquet")
    assert [row["fault"] for row in rows_of(tmp_path / "labels.parquet").values()] == [None] * 2
