"""Preprocessing with every executor, and its shards read by other readers."""

import io
import threading
from pathlib import Path

import apache_beam as beam
import numpy as np
import pytest
import tensorflow as tf
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from PIL import Image

from manylabel.preprocessing.config import PreprocessingConfig
from manylabel.preprocessing.job import preprocess
from manylabel.preprocessing.rejections import RejectReason
from manylabel.storage.dataset import Dataset
from manylabel.storage.schema import decode_example, encode_example

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def catalog(tmp_path_factory):
    """A folder tree of 24 pictures, two of them broken and one listed as two equal files."""
    root = tmp_path_factory.mktemp("tree")
    rng = np.random.default_rng(0)
    for number in range(24):
        directory = root / f"half {number % 2}" / f"third {number % 3}"
        directory.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 256, (8, 9, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((60, 50)).save(directory / f"{number}.png")
    (root / "half 0" / "text.jpg").write_text("no picture")
    (root / "half 1" / "empty.jpg").touch()
    copied = next((root / "half 0").rglob("*.png"))
    (root / "half 1" / "copy.png").write_bytes(copied.read_bytes())
    return root


def run(catalog, output, **settings):
    base = {
        "catalog": {"path": str(catalog)},
        "heldout": {"size": 6},
        "shards": {"images_per_shard": 5},
    }
    return preprocess(PreprocessingConfig.model_validate(base | settings), str(output))


@pytest.fixture(scope="module")
def report(catalog, tmp_path_factory):
    return run(catalog, tmp_path_factory.mktemp("one") / "dataset", executor="inline")


def dataset_and_plan(root):
    paths = (path for path in Path(root).rglob("*") if path.is_file())
    return {str(path.relative_to(root)): path.read_bytes() for path in paths}


@pytest.mark.parametrize(
    "settings",
    [
        {"executor": "processes", "runner": {"processes": 1}},
        {"executor": "processes", "runner": {"processes": 2}},
        {"executor": "processes", "runner": {"processes": 3}},
        {"executor": "ray"},
    ],
    ids=["1 process", "2 processes", "3 processes", "Ray"],
)
def test_every_executor_writes_the_same_bytes_and_opens_no_door(
    settings, catalog, report, tmp_path, listeners
):
    """Who listens to the network is seen at many moments of the job."""
    seen, ended = [], threading.Event()

    def watch():
        while not ended.wait(0.1):
            seen.append(listeners())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        other = run(catalog, tmp_path / "dataset", **settings)
    finally:
        ended.set()
        watcher.join()
    assert dataset_and_plan(other.dataset) == dataset_and_plan(report.dataset)
    assert len(seen) > 5
    found = {listener for moment in seen for listener in moment}
    assert {listener for listener in found if not listener.address.is_loopback} == set()
    assert bool(found) is (settings["executor"] == "ray")


@pytest.mark.parametrize("settings", [{}, {"executor": "ray"}], ids=["processes", "Ray"])
def test_pictures_of_two_catalogs_are_found_by_every_worker(settings, catalog, tmp_path):
    """The second has pictures of the same names, half of them equal to training's."""
    given = tmp_path / "given"
    for number, path in enumerate(sorted(catalog.rglob("*.png"))[:8]):
        other = given / path.relative_to(catalog)
        other.parent.mkdir(parents=True, exist_ok=True)
        turned = Image.open(path).transpose(Image.Transpose.ROTATE_90)
        other.write_bytes(path.read_bytes()) if number % 2 else turned.save(other)
    heldout = {"catalog": {"path": str(given)}}
    inline = run(catalog, tmp_path / "inline", executor="inline", heldout=heldout)
    assert inline.images["heldout"] == 8
    assert inline.rejected[RejectReason.EQUAL_TO_HELDOUT] == 4
    other = run(catalog, tmp_path / "other", heldout=heldout, **settings)
    assert dataset_and_plan(other.dataset) == dataset_and_plan(inline.dataset)


def test_beams_own_worker_processes_write_the_same_bytes(catalog, report, tmp_path, monkeypatch):
    """By Beam's options the graph leaves this process, as it does on a cluster's runner: whatever
    it moves and calls is found there, and nothing is expected in memory."""
    monkeypatch.chdir(tmp_path)  # Beam's workers import what is in the current folder.
    options = (
        f"--runner={FnApiRunner.__module__}.FnApiRunner",
        "--direct_num_workers=2",
        "--direct_running_mode=multi_processing",
    )
    other = run(catalog, tmp_path / "dataset", executor="inline", runner={"options": options})
    assert dataset_and_plan(other.dataset) == dataset_and_plan(report.dataset)


def test_every_image_is_accounted_for(report):
    assert report.counts.model_dump() == {
        "listed": 27,
        "written": 24,
        "rejected": 2,
        "duplicates": 1,
    }
    assert report.rejected == {RejectReason.NOT_AN_IMAGE: 1, RejectReason.EMPTY_FILE: 1}


def test_tensorflow_reads_every_record(report):
    dataset = Dataset.open(report.dataset)
    for split in ("train", "heldout"):
        paths = [str(dataset.path(shard.path)) for shard in dataset.split(split).shards]
        payloads = list(tf.data.TFRecordDataset(paths).as_numpy_iterator())
        assert [decode_example(payload) for payload in payloads] == list(dataset.iterate(split))
        assert len(payloads) == dataset.records(split) > 0
        for payload in payloads:
            example = tf.train.Example.FromString(payload)
            encoded = example.features.feature["image/encoded"].bytes_list.value[0]
            assert tf.io.decode_jpeg(encoded, channels=3).shape == (50, 60, 3)
            assert Image.open(io.BytesIO(encoded)).size == (60, 50)


def test_beam_reads_every_record(report, tmp_path):
    dataset = Dataset.open(report.dataset)
    expected = sorted(encode_example(image) for image in dataset.iterate("train"))
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        _ = (
            pipeline
            | beam.io.ReadFromTFRecord(str(dataset.root / "train" / "train-*.tfrecord"))
            | beam.Map(lambda payload: payload.hex())
            | beam.io.WriteToText(str(tmp_path / "read"), shard_name_template="")
        )
    read = sorted(bytes.fromhex(line) for line in (tmp_path / "read").read_text().splitlines())
    assert read == expected
