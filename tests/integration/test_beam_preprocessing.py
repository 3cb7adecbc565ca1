"""Preprocessing on real Beam worker processes, and its shards read by other readers."""

import io
import os
import signal
import threading
import time
from collections import Counter
from pathlib import Path

import apache_beam as beam
import numpy as np
import pytest
import tensorflow as tf
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from PIL import Image

from manylabel.preprocessing.beam_runner import run_pipeline
from manylabel.preprocessing.config import PreprocessingConfig
from manylabel.preprocessing.errors import PreprocessingError
from manylabel.preprocessing.job import preprocess
from manylabel.preprocessing.rejections import RejectReason
from manylabel.storage.dataset import Dataset
from manylabel.storage.schema import decode_example, encode_example
from manylabel.storage.tfrecord import read_record

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


def run(catalog, output, processes):
    config = PreprocessingConfig.model_validate(
        {
            "catalog": {"path": str(catalog)},
            "heldout": {"size": 6},
            "shards": {"images_per_shard": 5},
            "runner": {"processes": processes},
        }
    )
    return preprocess(config, str(output))


@pytest.fixture(scope="module")
def report(catalog, tmp_path_factory):
    return run(catalog, tmp_path_factory.mktemp("one") / "dataset", processes=1)


def all_files(root):
    paths = (path for path in Path(root).rglob("*") if path.is_file())
    return {str(path.relative_to(root)): path.read_bytes() for path in paths}


@pytest.fixture(scope="module")
def by_two(catalog, tmp_path_factory, listeners):
    """The report of a job of two processes, and who listened at many moments of it."""
    seen, ended = [], threading.Event()

    def watch():
        while not ended.wait(0.25):
            seen.append(listeners())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        report = run(catalog, tmp_path_factory.mktemp("two") / "dataset", processes=2)
    finally:
        ended.set()
        watcher.join()
    return report, seen


def test_no_one_on_the_network_reaches_the_servers_of_two_processes(by_two):
    """They execute what they are sent. Who is told to come to "localhost" finds them, whichever
    address that is."""
    _, seen = by_two
    addresses = [Counter(listener.address for listener in moment) for moment in seen]
    assert {address for found in addresses for address in found if not address.is_loopback} == set()
    most = max(max(found.values(), default=0) for found in addresses)
    assert most == 6, "docs/security.md says how many there are"


def test_two_processes_write_the_same_bytes_as_one(by_two, report):
    by_two, _ = by_two
    assert all_files(by_two.dataset) == all_files(report.dataset)
    assert by_two.counts == report.counts
    assert report.counts.model_dump() == {
        "listed": 27,
        "written": 24,
        "rejected": 2,
        "duplicates": 1,
    }
    assert report.rejected == {RejectReason.NOT_AN_IMAGE: 1, RejectReason.EMPTY_FILE: 1}


def test_a_failing_worker_fails_the_job_with_its_reason():
    """At once, while the other worker may not have connected; it must not be waited for."""
    with pytest.raises(
        PreprocessingError, match=r"the job failed: .*a file.*corrupt record at byte 0"
    ):
        run_pipeline(
            lambda pipeline: pipeline | beam.Create([b"x"]) | beam.Map(read_record, 0, "a file"),
            processes=2,
        )


def test_a_killed_worker_fails_the_job():
    """As the kernel kills a process for want of memory; waiting for it would never end."""

    def die_by_two(number):  # in here, because the workers cannot import this module
        if number == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.05)
        return number

    with pytest.raises(
        PreprocessingError,
        match=r"the job failed: a worker process ended early.*code -9.*run again",
    ) as error:
        run_pipeline(
            lambda pipeline: (
                pipeline | beam.Create(range(20)) | beam.Reshuffle() | beam.Map(die_by_two)
            ),
            processes=2,
        )
    assert "\n" not in str(error.value)


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
