"""Single records by their place."""

import os
from pathlib import Path

import pytest

from manylabel.storage.errors import UnreachableShardError
from manylabel.storage.schema import SplitName, decode_example
from manylabel.trainer.records.reader import RecordReader


def open_shards():
    links = (f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd"))
    return sum(Path(os.path.realpath(link)).suffix == ".tfrecord" for link in links)


def test_of_many_shards_few_are_open_and_none_afterwards(write_dataset, labelled_image):
    images = [labelled_image(number, height=8, width=8) for number in range(12)]
    dataset = write_dataset(train=[[image] for image in images])
    with RecordReader(dataset, SplitName.TRAIN, open_shards=3) as reader:
        for _ in range(2):
            for number, image in enumerate(images):
                payload = reader.read(number, 0).payload
                assert payload is not None
                assert decode_example(payload).image_id == image.image_id
                assert open_shards() <= 3
        assert open_shards() == 3
    assert open_shards() == 0


@pytest.mark.parametrize("part", ["path", "index_path"])
def test_storage_that_fails_is_told_of_the_shard_and_is_no_bad_record(
    write_dataset, labelled_image, part
):
    """As a mount does for a moment. The memory of a process has no byte 0 that can be read."""
    dataset = write_dataset(train=[[labelled_image(0, height=8, width=8)]])
    path = dataset.root / getattr(dataset.split(SplitName.TRAIN).shards[0], part)
    path.unlink()
    path.symlink_to("/proc/self/mem")
    with (
        RecordReader(dataset, SplitName.TRAIN) as reader,
        pytest.raises(UnreachableShardError, match=rf"^{path}: cannot be read now: .*In"),
    ):
        reader.read(0, 0)
