"""A run belongs to the content of its dataset: the same inputs may have become another dataset."""

import csv
import hashlib
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
from PIL import Image

from manylabel.deploy.export import export
from manylabel.eval.errors import EvaluationError
from manylabel.eval.store.evaluations import predictions_path, read_summaries
from manylabel.eval.store.predictions import read_predictions
from manylabel.pipeline import events
from manylabel.pipeline.config import Settings
from manylabel.pipeline.errors import CommandError
from manylabel.pipeline.evaluate import evaluate_run
from manylabel.preprocessing.errors import PreprocessingError
from manylabel.preprocessing.job import preprocess
from manylabel.storage.dataset import Dataset
from manylabel.storage.locks import sole_holder
from manylabel.trainer.errors import TrainingError
from manylabel.trainer.job import train
from manylabel.trainer.networks.build import build_model, decayed_variables
from manylabel.trainer.plane.layout import ParameterLayout
from manylabel.trainer.plane.optimizers import DecayBlocks
from manylabel.trainer.plane.shard import ParameterShard, ShardState
from manylabel.trainer.program.in_process import LocalShards
from manylabel.trainer.program.plan import stream_identity
from manylabel.trainer.records.ledger import RecordLedger
from manylabel.trainer.runs.directory import describe_run
from manylabel.trainer.runs.sole_job import sole_training_job
from manylabel.trainer.runs.writer import CheckpointWriter

pytestmark = pytest.mark.slow

IMAGES = 24
LATE = ("late0.png", "late1.png")
LOGITS = (17.0, 18.0, 19.5, 25.0)
STEP = 4


def labels_of(number):
    return ["cow", "dog" if number % 2 else "emu", *(["fox"] if number % 3 else [])]


def draw(path, seed):
    coarse = np.random.default_rng(seed).integers(0, 256, (8, 9, 3), np.uint8)
    Image.fromarray(coarse).resize((60, 50), Image.Resampling.BICUBIC).save(path)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A catalog that also lists two pictures which are not there yet."""
    folder = tmp_path_factory.mktemp("pictures")
    for number in range(IMAGES):
        draw(folder / f"{number}.png", number)
    rows = [(f"{n}.png", label) for n in range(IMAGES) for label in labels_of(n)]
    rows += [(LATE[0], "ant"), (LATE[0], "cow"), (LATE[1], "cow"), ("0.png", "yak")]
    with (folder / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("image_path", "label"), *rows])
    return folder


def settings_for(pictures):
    return Settings.model_validate(
        {
            "preprocessing": {
                "catalog": {"path": str(pictures / "labels.csv"), "confidence_column": None},
                "heldout": {"size": 6, "minimum_labels": 2},
            },
            "trainer": {"model": {"input_size": 32, "width": 0.125, "middle_repeats": 0}},
            "eval": {"precision_at": [1]},
        }
    )


def make_dataset(pictures, root, *, overwrite=False):
    preprocess(settings_for(pictures).preprocessing, str(root), overwrite=overwrite)
    return Dataset.open(root)


@pytest.fixture(scope="module")
def trained(pictures, tmp_path_factory):
    """A folder with a dataset, and a run on it whose checkpoint gives four logits to all images."""
    folder = tmp_path_factory.mktemp("trained")
    dataset = make_dataset(pictures, folder / "dataset")
    settings = settings_for(pictures)
    describe_run(folder / "run", dataset, settings.trainer, settings.model_dump(mode="json"))
    with sole_training_job(folder / "run"):  # leaves the file of its lock
        write_checkpoint(folder / "run", dataset, settings.trainer)
    evaluate(folder / "run")
    return folder


def write_checkpoint(run, dataset, config):
    model = build_model(config.model, dataset.num_classes)
    head = model.get_layer("predictions")
    biases = np.full(dataset.num_classes, -5.0, np.float32)
    biases[: len(LOGITS)] = LOGITS
    head.set_weights([np.zeros_like(head.kernel), biases])
    layout = ParameterLayout.of(model, decayed_variables(model))
    weights, statistics = layout.read(model)
    state = ShardState.initial(weights, statistics, config.optimizer)
    shard = ParameterShard(state, config.optimizer, DecayBlocks(0, [], 0.0), 0.99, STEP)
    stream = stream_identity(dataset, config.input)
    writer = CheckpointWriter(run, layout, stream, LocalShards([shard]), shard_count=1)
    writer.begin(STEP, 32 * STEP, RecordLedger(total=0, lease_size=1).state())
    writer.poll(wait=True)


@pytest.fixture
def own(trained, pictures, tmp_path):
    """A copy of everything, in which pictures and dataset may change under the run."""
    shutil.copytree(pictures, tmp_path / "pictures")
    shutil.copytree(trained, tmp_path / "trained")
    return tmp_path


def evaluate(run, *overrides, on_event=lambda event: None):
    return evaluate_run(run, "latest", str(run.parent / "dataset"), overrides, on_event)


def summaries_of(run):
    unreadable: list[Exception] = []
    summaries = read_summaries(run, unreadable.append)
    assert unreadable == []
    return summaries


def pictures_arrive(pictures):
    """One of them has a label that comes before all others."""
    for seed, name in enumerate(LATE, start=IMAGES):
        draw(pictures / name, seed)


def pictures_are_replaced(pictures):
    draw(pictures / "3.png", 99)


def one_comes_and_one_goes(pictures):
    """As many labels as before, with other numbers: "ant" for "yak"."""
    draw(pictures / LATE[0], 98)
    (pictures / "0.png").unlink()


def content(folder):
    return {
        path.relative_to(folder): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.mark.parametrize("change", [pictures_arrive, pictures_are_replaced, one_comes_and_one_goes])
def test_the_same_inputs_with_other_content_are_another_dataset(own, change):
    run, root = own / "trained" / "run", own / "trained" / "dataset"
    before = Dataset.open(root)
    names = before.label_names()
    left_over = run / "checkpoints" / ".unfinished-00000009" / "shard"
    left_over.parent.mkdir()
    left_over.write_text("of a job that was killed")
    change(own / "pictures")
    after = make_dataset(own / "pictures", root, overwrite=True)
    assert after.manifest.fingerprint == before.manifest.fingerprint
    assert after.content_digest != before.content_digest
    unchanged = content(run)

    with pytest.raises(TrainingError, match="expected the dataset that it was trained on") as error:
        train(settings_for(own / "pictures").trainer, root, run)
    assert "\n" not in str(error.value)
    with pytest.raises(TrainingError, match="expected the dataset that it was trained on"):
        evaluate(run)
    assert content(run) == unchanged
    shutil.rmtree(run / "evals")  # No predictions of before either.
    with pytest.raises(TrainingError, match="expected the dataset that it was trained on"):
        evaluate(run)
    assert not (run / "evals").exists()

    # The run itself is whole: it still exports with the names that it learnt.
    assert pq.read_table(run / "labels.parquet").column("name").to_pylist() == names
    if after.label_names() != names:
        shutil.copyfile(root / "labels.parquet", run / "labels.parquet")
        with pytest.raises(TrainingError, match=r"labels\.parquet: expected the \d+ labels that"):
            export(run, own / "model")
        assert not (own / "model").exists()


def test_a_dataset_made_in_two_folders_is_one(own, trained):
    copy = make_dataset(own / "pictures", own / "again")
    original = Dataset.open(trained / "dataset")
    assert copy.content_digest == original.content_digest
    assert copy.manifest.fingerprint == original.manifest.fingerprint
    events_seen: list[events.Event] = []
    (summary,) = evaluate_run(trained / "run", "latest", str(own / "again"), [], events_seen.append)
    assert summary.dataset.content_digest == copy.content_digest
    assert events_seen == [events.EvaluatedBefore(STEP)]


def test_pictures_at_another_place_must_be_the_same(own):
    """The fingerprint holds no paths; so other pictures must not be taken for those of before, and
    a share that is not mounted must not empty the dataset."""
    root = own / "trained" / "dataset"
    moved = (own / "pictures").rename(own / "moved")
    assert preprocess(settings_for(moved).preprocessing, str(root)).nothing_to_do
    unchanged = content(root)
    other = Path(shutil.copytree(moved, own / "other"))
    draw(other / "3.png", 99)
    gone = Path(shutil.copytree(moved, own / "gone"))
    (gone / "5.png").unlink()
    for place, received in ((other, "another one"), (gone, "missing file")):
        message = rf"\.png: expected the picture that the dataset .* received {received}; .*moved"
        with pytest.raises(PreprocessingError, match=message):
            preprocess(settings_for(place).preprocessing, str(root))
        assert content(root) == unchanged


def test_evaluations_with_other_weights_stand_side_by_side(own):
    run, table = own / "trained" / "run", own / "weights.csv"
    predicted = content(run / "evals")
    by_weights = {}
    for name, text in (("uniform", None), ("csv", "cow,1\n"), ("other csv", "cow,1\nfox,5\n")):
        kind = ["eval.weights.kind=uniform"]
        if text:
            table.write_text(f"label,weight\n{text}")
            kind = [f"eval.weights={{kind: csv, csv: {table}, missing: 0.5}}"]
        seen: list[events.Event] = []
        (by_weights[name],) = evaluate(run, *kind, on_event=seen.append)
        told = [event for event in seen if isinstance(event, events.Doing)]
        assert [event.what.partition(" ")[0] for event in told] == ["scoring"]  # and no prediction
        assert events.EvaluatedBefore(STEP) not in seen
        seen.clear()
        (again,) = evaluate(run, *kind, on_event=seen.append)
        assert (again, seen) == (by_weights[name], [events.EvaluatedBefore(STEP)])
    assert len({summary.headline.value for summary in by_weights.values()}) == 3
    assert len(summaries_of(run)) == 4
    after = content(run / "evals")
    assert {path: after[path] for path in predicted} == predicted

    # The table's place and the batch size are no settings of the result.
    table = table.rename(own / "moved.csv")
    seen = []
    moved = [f"eval.weights={{kind: csv, csv: {table}, missing: 0.5}}", "eval.batch_size=1"]
    assert evaluate(run, *moved, on_event=seen.append) == [by_weights["other csv"]]


def test_predictions_are_made_again_when_they_do_not_fit(own):
    run = own / "trained" / "run"
    path = predictions_path(run, STEP)

    def predictions_made():
        seen: list[events.Event] = []
        evaluate(run, "eval.weights.kind=uniform", on_event=seen.append)
        for summary in (run / "evals").glob("*/uniform-*/summary.json"):
            summary.unlink()
        return any(isinstance(event, events.PredictionProgressed) for event in seen)

    assert not predictions_made()
    data = bytearray(path.read_bytes())
    data[60:90] = bytes(30)
    path.write_bytes(bytes(data))
    assert predictions_made()
    assert not predictions_made()
    path.unlink()
    assert predictions_made()


def test_wrong_weights_are_no_damaged_predictions(own):
    """Of a label that no held-out image has; predictions are good and stay."""
    run, table = own / "trained" / "run", own / "weights.csv"
    table.write_text("label,weight\nyak,1\n")
    unchanged = content(run)
    seen: list[events.Event] = []
    with pytest.raises(EvaluationError, match=r"all of weight 0; change eval\.weights"):
        evaluate(run, f"eval.weights={{kind: csv, csv: {table}, missing: 0}}", on_event=seen.append)
    assert seen == []
    assert content(run) == unchanged


def test_two_evaluations_of_a_checkpoint_take_turns(own):
    run = own / "trained" / "run"
    with (
        sole_holder(run / "evals" / f"{STEP:08d}" / ".lock"),
        pytest.raises(CommandError, match="another evaluation of this checkpoint is at work"),
    ):
        evaluate(run, "eval.weights.kind=uniform")
    evaluate(run, "eval.weights.kind=uniform")


def test_a_checkpoint_made_again_is_evaluated_again(own):
    run = own / "trained" / "run"
    (before,) = summaries_of(run)
    evaluate(run, "eval.weights.kind=uniform")
    shutil.rmtree(run / "checkpoints")
    write_checkpoint(run, Dataset.open(own / "trained" / "dataset"), settings_for(own).trainer)
    (after,) = evaluate(run)
    assert after.settings == before.settings
    assert after.provenance.checkpoint_digest != before.provenance.checkpoint_digest
    assert summaries_of(run) == [after]


def test_large_logits_rank_in_their_order_from_prediction_to_exported_model(trained, tmp_path):
    """The sigmoid of each of them is 1 in float32."""
    expected = [3, 2, 1, 0]
    names = Dataset.open(trained / "dataset").label_names()
    for batch in read_predictions(predictions_path(trained / "run", STEP), 8):
        assert batch.class_ids[:, :4].tolist() == [expected] * len(batch.image_ids)
        np.testing.assert_array_equal(batch.scores[:, :4], [LOGITS[::-1]] * len(batch.image_ids))
    model = tf.saved_model.load(str(export(trained / "run", tmp_path / "model")))
    picture = next(Dataset.open(trained / "dataset").iterate("heldout")).encoded
    answer = model.signatures["serving_default"](images=tf.constant([picture]))
    labels = [label.decode() for label in answer["labels"].numpy()[0]]
    assert labels[:4] == [names[class_id] for class_id in expected]
    np.testing.assert_array_equal(answer["scores"].numpy()[0, :4], np.ones(4, np.float32))
