"""An exported run, alone in a fresh process, against the evaluation's predictions."""

import errno
import io
import json
import shutil
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
from PIL import Image

from manylabel.deploy import classifier as classifier_module
from manylabel.deploy import export as export_module
from manylabel.deploy.errors import DeploymentError
from manylabel.deploy.export import export
from manylabel.storage.locks import sole_user
from manylabel.trainer.errors import CheckpointError, TrainingError
from manylabel.trainer.predict import Predictor, load_checkpoint, new_model
from manylabel.trainer.runs.checkpoint import list_checkpoints
from manylabel.trainer.runs.directory import describe_run, open_run
from tests._file_sizes import no_file_larger_than

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def classify(exported):
    return tf.saved_model.load(str(exported / "1")).signatures["serving_default"]


@pytest.fixture(scope="module")
def predicted(run, dataset):
    """Image id to the label names and the probabilities of the evaluation, best first."""
    names = dataset.label_names()
    predictor = Predictor(run, dataset, k=5)
    return {
        image_id: ([names[class_id] for class_id in class_ids], sigmoid(scores))
        for batch in predictor.predict(newest(run), batch_size=4)
        for image_id, class_ids, scores in zip(*batch, strict=True)
    }


def newest(run):
    return list_checkpoints(run)[-1]


def sigmoid(logits):
    return 1 / (1 + np.exp(-logits))


def answers(classify, images):
    answer = classify(images=tf.constant(images))
    labels = [[label.decode() for label in row] for row in answer["labels"].numpy()]
    return list(zip(labels, answer["scores"].numpy(), strict=True))


def file_bytes(image, **options):
    file = io.BytesIO()
    image.save(file, "PNG", **options)
    return file.getvalue()


ALONE = """
import pathlib, sys
import keras, numpy as np, tensorflow as tf

model, images, answer = map(pathlib.Path, sys.argv[1:])
classify = tf.saved_model.load(model / "1").signatures["serving_default"]
files = [path.read_bytes() for path in sorted(images.iterdir())]
best = classify(images=tf.constant(files))
network = keras.models.load_model(model / "model.keras")
pixels = np.linspace(-1, 1, 2 * 48 * 48 * 3, dtype=np.float32).reshape(2, 48, 48, 3)
assert "manylabel" not in sys.modules
assert (best["faults"].numpy() == b"").all()
labels = best["labels"].numpy().astype("U")
np.savez(answer, labels=labels, scores=best["scores"], logits=network(pixels))
"""


def test_alone_it_agrees_with_the_evaluation(exported, run, stored, predicted, tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    for number, image_id in enumerate(predicted):
        (images / f"{number:02d}").write_bytes(stored[image_id])
    answer = tmp_path / "answer.npz"
    command = [sys.executable, "-I", "-c", ALONE, exported, images, answer]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)

    alone = np.load(answer)
    assert len(predicted) >= 8
    for (labels, scores), best, ours in zip(
        predicted.values(), alone["labels"], alone["scores"], strict=True
    ):
        assert best.tolist() == labels
        np.testing.assert_allclose(ours, scores, rtol=1e-5)

    network = new_model(open_run(run))
    load_checkpoint(network, newest(run), averaged=True)
    pixels = np.linspace(-1, 1, 2 * 48 * 48 * 3, dtype=np.float32).reshape(2, 48, 48, 3)
    logits = network(pixels).numpy()
    np.testing.assert_allclose(alone["logits"], logits, rtol=1e-5, atol=1e-6)
    load_checkpoint(network, newest(run), averaged=False)
    assert np.abs(network(pixels).numpy() - logits).max() > 1e-2


def test_originals_get_the_answer_of_what_is_stored_of_them(classify, originals, stored):
    """Of large, turned, translucent and other pictures; aliased or unturned, scores are far off."""
    ours = answers(classify, list(originals.values()))
    theirs = answers(classify, [stored[name] for name in originals])
    for (labels, scores), (expected, of_stored) in zip(ours, theirs, strict=True):
        assert labels[0] == expected[0]
        np.testing.assert_allclose(scores, of_stored, rtol=0.05)


def test_a_palette_of_4_bits_has_the_scores_of_its_other_forms(classify):
    """TensorFlow's decoder gives it an alpha of 15 where none is asked for."""
    colours = Image.radial_gradient("L").resize((48, 40)).convert("RGB").quantize(16)
    forms = [
        file_bytes(colours, bits=4),
        file_bytes(colours, bits=8),
        file_bytes(colours.convert("RGB")),
    ]
    assert [form[24:26] for form in forms] == [b"\x04\x03", b"\x08\x03", b"\x08\x02"]
    of_4_bits, *others = answers(classify, forms)
    white = answers(classify, [file_bytes(Image.new("RGB", (48, 40), "white"))])
    for labels, scores in others:
        assert labels == of_4_bits[0]
        np.testing.assert_allclose(scores, of_4_bits[1], rtol=1e-6)
    assert np.abs(white[0][1] - of_4_bits[1]).max() > 1e-3


def test_a_bad_image_has_a_fault_and_fails_no_other(classify, originals):
    good = ["small0.jpg", "large.png", "cmyk.jpg"]
    damaged = originals["large.jpg"][:2000]
    images = [damaged, originals[good[0]], b"GIF89a", originals[good[1]], originals[good[2]], b""]
    answer = classify(images=tf.constant(images))
    faults = [fault.decode() for fault in answer["faults"].numpy()]
    assert faults[0].startswith("expected pixels that can be decoded, received a damaged file")
    assert faults[2].endswith("received bytes that begin with 71 73 70 56 57 97")
    assert faults[5].startswith("expected the bytes of a JPEG or PNG file")
    assert [faults[place] for place in (1, 3, 4)] == ["", "", ""]
    for place in (0, 2, 5):
        assert (answer["labels"][place].numpy() == b"").all()
        assert (answer["scores"][place].numpy() == 0).all()
    among_bad = answers(classify, images)
    alone = answers(classify, [originals[name] for name in good])
    for place, (labels, scores) in zip((1, 3, 4), alone, strict=True):
        assert among_bad[place][0] == labels
        np.testing.assert_allclose(among_bad[place][1], scores, rtol=1e-5)


def test_a_batch_of_bad_images_has_faults_alone(classify, originals):
    answer = classify(images=tf.constant([b"GIF89a", originals["large.jpg"][:2000]]))
    assert (answer["faults"].numpy() != b"").all()
    assert (answer["labels"].numpy() == b"").all()


def test_no_images_have_no_labels(classify):
    answer = classify(images=tf.constant([], tf.string))
    assert answer["labels"].shape == answer["scores"].shape == (0, 5)
    assert answer["faults"].shape == (0,)


def test_the_graph_runs_on_any_device(classify):
    assert {operation.device for operation in classify.graph.get_operations()} == {""}


def test_the_labels_and_the_origin_are_beside_it(exported, run, steps, dataset, policy):
    assert (exported / "labels.parquet").read_bytes() == (run / "labels.parquet").read_bytes()
    origin = json.loads((exported / "export.json").read_text())
    assert origin["step"] == steps[-1]
    assert origin["samples"] == 32 * steps[-1]
    assert origin["dataset_digest"] == dataset.content_digest
    assert origin["checkpoint_digest"] == newest(run).digest
    assert origin["top_k"] == 5
    assert origin["images"] == policy.model_dump()


def test_the_checkpoint_is_chosen_and_k_bounded_by_the_classes(
    run, steps, dataset, stored, tmp_path
):
    (tmp_path / "model").mkdir()  # an empty directory is as good as none
    model = export(run, tmp_path / "model", step=steps[0], top_k=100)
    classify = tf.saved_model.load(str(model)).signatures["serving_default"]
    names = dataset.label_names()
    batches = Predictor(run, dataset, k=100).predict(list_checkpoints(run)[0], batch_size=4)
    image_ids, class_ids, scores = next(iter(batches))
    assert class_ids.shape == (4, dataset.num_classes)
    ours = answers(classify, [stored[image_id] for image_id in image_ids])
    for (labels, probabilities), ids, expected in zip(ours, class_ids, scores, strict=True):
        assert labels == [names[class_id] for class_id in ids]
        np.testing.assert_allclose(probabilities, sigmoid(expected), rtol=1e-5)
    assert json.loads((tmp_path / "model" / "export.json").read_text())["step"] == steps[0]


def test_a_step_that_is_not_there_is_an_error_that_names_those_that_are(run, tmp_path):
    with pytest.raises(DeploymentError, match="a checkpoint of step 4, found 3, 7"):
        export(run, tmp_path / "model", step=4)
    assert list(tmp_path.iterdir()) == []


def test_a_run_without_checkpoints_is_an_error(dataset, trainer_config, tmp_path):
    describe_run(tmp_path / "run", dataset, trainer_config, {})
    with pytest.raises(DeploymentError, match="expected a checkpoint, found none"):
        export(tmp_path / "run", tmp_path / "model")


def test_a_run_that_does_not_say_how_images_were_stored_is_an_error(run, tmp_path):
    old = Path(shutil.copytree(run, tmp_path / "run"))
    description = json.loads((old / "run.json").read_text())
    (old / "run.json").write_text(json.dumps(description | {"dataset_settings": {}}))
    with pytest.raises(DeploymentError, match=r"run\.json: expected how the dataset stores images"):
        export(old, tmp_path / "model")


def test_a_damaged_checkpoint_is_not_passed_over_in_silence(run, tmp_path):
    broken = Path(shutil.copytree(run, tmp_path / "run"))
    (shard,) = newest(broken).path.glob("*.npz")
    shard.write_bytes(shard.read_bytes()[:1000])
    message = r"00000007.*expected \d+ bytes, found 1000; .* with --step"
    with pytest.raises(DeploymentError, match=message):
        export(broken, tmp_path / "model")
    seen: list[Exception] = []
    list_checkpoints(broken, seen.append)
    assert "00000007" in str(seen[0])


def test_a_checkpoint_that_is_being_removed_is_told_of(run, tmp_path):
    with (
        sole_user(newest(run).path / "manifest.json"),
        pytest.raises(DeploymentError, match="was removed just now; run the same"),
    ):
        export(run, tmp_path / "model")


def test_a_checkpoint_of_another_run_is_not_exported_with_this_ones_labels(run, tmp_path):
    other = Path(shutil.copytree(run, tmp_path / "run"))
    description = json.loads((other / "run.json").read_text())
    (other / "run.json").write_text(json.dumps(description | {"dataset_digest": "d" * 64}))
    with pytest.raises(TrainingError, match="was it copied from another run"):
        export(other, tmp_path / "model")
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    ("kind", "told"), [("directory", "it is not empty"), ("file", "it, or .*, is a file")]
)
def test_what_is_there_is_not_overwritten(run, tmp_path, kind, told):
    output = tmp_path / "model"
    if kind == "directory":
        output.mkdir()
    mine = output / "mine" if kind == "directory" else output
    mine.write_text("mine")
    for place in (output, mine / "below"):
        with pytest.raises(DeploymentError, match="expected a new or empty directory; it"):
            export(run, place)
    with pytest.raises(DeploymentError, match=told):
        export(run, output)
    assert mine.read_text() == "mine"


def test_an_export_that_is_stopped_leaves_nothing(run, tmp_path, monkeypatch):
    def stop(*arguments, **options):
        (unfinished,) = (tmp_path / "model").iterdir()
        (unfinished / "1").mkdir()
        raise KeyboardInterrupt

    monkeypatch.setattr(tf.saved_model, "save", stop)
    with pytest.raises(KeyboardInterrupt):
        export(run, tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def quick(exported, monkeypatch):
    """The model of `exported` instead of one that takes seconds to trace."""

    def write(model, folder):
        shutil.copytree(exported, folder, dirs_exist_ok=True)

    monkeypatch.setattr(export_module, "_write", write)


EXPORTED = {"1", "model.keras", "labels.parquet", "export.json"}


def test_the_current_folder_and_an_empty_volume_are_filled(quick, run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lost+found").mkdir()
    inode = tmp_path.stat().st_ino
    export(run, Path())
    assert tmp_path.stat().st_ino == inode
    assert {path.name for path in tmp_path.iterdir()} == EXPORTED | {"lost+found"}


def test_of_two_at_once_one_is_told(quick, run, exported, tmp_path, monkeypatch):
    output = tmp_path / "model"
    quick_write = export_module._write

    def write(model, folder):
        quick_write(model, folder)
        monkeypatch.setattr(export_module, "_write", quick_write)
        export(run, output, top_k=3)

    monkeypatch.setattr(export_module, "_write", write)
    with pytest.raises(DeploymentError, match="model: expected a new or empty directory"):
        export(run, output)
    assert {path.name for path in output.iterdir()} == EXPORTED


def test_what_a_killed_export_left_is_removed_and_what_another_has_is_not(quick, run, tmp_path):
    killed, at_work = (tmp_path / f".unfinished-{name}" for name in ("killed", "other"))
    for path in (killed, at_work):
        path.mkdir()
        (path / "lock").touch()
    with sole_user(at_work / "lock"):
        export(run, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == EXPORTED | {at_work.name}


def test_one_that_was_killed_at_its_end_is_made_anew(quick, run, tmp_path):
    (tmp_path / ".unfinished-killed").mkdir()
    (tmp_path / ".unfinished-killed" / "lock").touch()
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "of the killed one").touch()
    (tmp_path / "model.keras").touch()
    export(run, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == EXPORTED
    assert (tmp_path / "model.keras").stat().st_size > 0
    assert not (tmp_path / "1" / "of the killed one").exists()


def test_a_full_disk_at_the_end_leaves_nothing(quick, run, tmp_path, monkeypatch):
    rename = Path.rename

    def fail(path, target):
        if path.name == "labels.parquet":
            raise OSError(errno.ENOSPC, "No space left on device", str(target))
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(OSError, match="No space left"):
        export(run, tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_weights_that_are_no_numbers_are_not_exported(run, tmp_path, monkeypatch):
    def nowhere(model, checkpoint, *, averaged):
        model.set_weights([np.full_like(weights, np.nan) for weights in model.get_weights()])

    monkeypatch.setattr(classifier_module, "load_checkpoint", nowhere)
    message = "00000007: expected finite scores, received nan for 1 of 1 images: training diverged"
    with pytest.raises(CheckpointError, match=message):
        export(run, tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_class_ids_are_rows_of_the_table_of_labels(classify, exported, originals):
    answer = classify(images=tf.constant([originals["small0.jpg"], b"GIF89a"]))
    names = pq.read_table(exported / "labels.parquet").column("name").to_pylist()
    (ids, of_bad), (labels, _) = answer["class_ids"].numpy().tolist(), answer["labels"].numpy()
    assert [names[class_id] for class_id in ids] == [label.decode() for label in labels]
    assert of_bad == [-1] * 5


def test_the_network_alone_takes_pixels_and_runs_elsewhere(exported):
    """All logits, by a graph that TensorFlow Lite knows every operation of."""
    model = tf.saved_model.load(str(exported / "1"))
    pixels = np.linspace(-1, 1, 2 * 48 * 48 * 3, dtype=np.float32).reshape(2, 48, 48, 3)
    logits = model.signatures["logits"](pixels=tf.constant(pixels))["logits"].numpy()
    network = keras.models.load_model(exported / "model.keras")
    np.testing.assert_allclose(logits, network(pixels), rtol=1e-5, atol=1e-6)

    converter = tf.lite.TFLiteConverter.from_saved_model(
        str(exported / "1"), signature_keys=["logits"]
    )
    lite = tf.lite.Interpreter(model_content=converter.convert()).get_signature_runner("logits")
    for row, image in zip(logits, pixels, strict=True):
        of_lite = lite(pixels=image[np.newaxis])["logits"]
        np.testing.assert_allclose(of_lite[0], row, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", ["1", "model.keras", "export.json"])
def test_what_a_library_makes_of_a_full_disk_names_the_place(run, tmp_path, monkeypatch, name):
    """TensorFlow's own error, Keras's and ours."""

    def write(model, folder):
        with no_file_larger_than(1000):
            if name == "1":
                weights = tf.Module()
                weights.variable = tf.Variable(tf.zeros(10_000))
                tf.saved_model.save(weights, str(folder / name))
            elif name == "model.keras":
                keras.Sequential([keras.Input((100,)), keras.layers.Dense(9)]).save(folder / name)
            else:
                (folder / name).write_bytes(bytes(2000))

    monkeypatch.setattr(export_module, "_write", write)
    with pytest.raises(OSError, match="File too large") as caught:
        export(run, tmp_path / "model")
    assert caught.value.filename == str(tmp_path / "model")
    assert list(tmp_path.iterdir()) == []
