"""Single records by their place."""

import os
from pathlib import Path

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
