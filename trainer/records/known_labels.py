"""What the training records say of each class: on how many images it is, on how many it is not."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from manylabel.storage.dataset import Dataset
from manylabel.storage.errors import DatasetError
from manylabel.storage.schema import LabelledImage, SplitName, decode_example
from manylabel.trainer.errors import TrainingError
from manylabel.trainer.records.reader import RecordReader

MOST_RECORDS = 10_000
"""That are looked at; verified absences are in the records alone, beside the pictures. At 100 kB a
record they are 1 GB."""


class KnownLabels(NamedTuple):
    """Counts of the images that were looked at."""

    images: int
    """How many, at most MOST_RECORDS."""
    present: NDArray[np.int64]
    """int64 [C], images that have the class as a label."""
    absent: NDArray[np.int64]
    """int64 [C], images of which it was verified that they do not have it."""


def count_known_labels(dataset: Dataset, most_records: int = MOST_RECORDS) -> KnownLabels:
    """Counts the first records of the training split, whose order is random (it is that of a hash);
    all of them in a small dataset. Records that cannot be read are passed over, as in training.

    Raises:
        TrainingError: none of the records holds a verified absence, so that a loss of the known
            classes alone would be least for a model that gives every label to every image; or a
            shard's file is missing.
    """
    counts = np.zeros((2, dataset.num_classes), np.int64)
    images = 0
    for image in _first_images(dataset, most_records):
        images += 1
        for count, of_image in zip(counts, (image.label_ids, image.negative_ids), strict=True):
            ids = np.unique(np.asarray(of_image, np.int64))
            count[ids[(ids >= 0) & (ids < dataset.num_classes)]] += 1
    present, absent = counts
    if not absent.any():
        raise TrainingError(
            f"{dataset.root}: trainer.loss.unknown is ignore, but no absence of a label was "
            f"verified (confidence 0 in the catalog) on the {images:,} training images that were "
            "looked at, so that no label could be wrong; set it to negative"
        )
    return KnownLabels(images, present, absent)


def _first_images(dataset: Dataset, most_records: int) -> Iterator[LabelledImage]:
    left = most_records
    with RecordReader(dataset, SplitName.TRAIN) as reader:
        for number, shard in enumerate(dataset.split(SplitName.TRAIN).shards):
            for record in range(min(left, shard.records)):
                payload = reader.read(number, record).payload
                if payload is None:
                    continue
                try:
                    yield decode_example(payload)
                except DatasetError:
                    continue
            left -= min(left, shard.records)
            if not left:
                return
