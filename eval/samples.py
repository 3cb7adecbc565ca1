"""Held-out images with what was predicted for them, for people to look at."""

import hashlib
from dataclasses import dataclass

from manylabel.eval.store.predictions import read_origin, read_predictions
from manylabel.storage.dataset import Dataset
from manylabel.storage.locations import Location
from manylabel.storage.schema import LabelledImage, SplitName

_READ_BATCH = 256


@dataclass(frozen=True)
class Sample:
    """One image.

    Attributes:
        image_id: Its id in the dataset.
        encoded: JPEG bytes.
        labels: Names of its labels.
        predictions: (name, probability), best first; another tool's scores are left as they are.
    """

    image_id: str
    encoded: bytes
    labels: tuple[str, ...]
    predictions: tuple[tuple[str, float], ...]


def choose_samples(
    dataset: Dataset, predictions: Location, count: int = 24, top: int = 5
) -> list[Sample]:
    """At most `count` held-out images, the same ones for every checkpoint of a dataset.

    The choice is by a hash of the image id: neither the order of the files nor the predictions
    sway it.

    Args:
        dataset: Gives images and label names.
        predictions: A predictions.parquet.
        count: Images wanted.
        top: Predictions kept of each.
    """
    chosen: dict[str, LabelledImage] = {}
    for image in dataset.iterate(SplitName.HELDOUT):
        chosen[image.image_id] = image
        if len(chosen) > count:
            del chosen[max(chosen, key=_hash)]
    names = dataset.label_names()
    origin = read_origin(predictions)
    shown = origin.score_kind.probability if origin else float
    samples = []
    for batch in read_predictions(predictions, _READ_BATCH):
        for image_id, class_ids, scores in zip(
            batch.image_ids, batch.class_ids[:, :top], batch.scores[:, :top], strict=True
        ):
            if record := chosen.get(image_id):
                best = zip((names[c] for c in class_ids), map(shown, scores.tolist()), strict=True)
                labels = tuple(names[c] for c in record.label_ids)
                samples.append(Sample(image_id, record.encoded, labels, tuple(best)))
    return sorted(samples, key=lambda sample: _hash(sample.image_id))


def _hash(image_id: str) -> bytes:
    return hashlib.blake2b(image_id.encode(), digest_size=8).digest()
