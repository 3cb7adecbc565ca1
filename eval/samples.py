"""Held-out images with what was predicted for them, for people to look at."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from manylabel.eval.store.predictions import read_origin, read_predictions
from manylabel.storage.dataset import Dataset
from manylabel.storage.locations import Location
from manylabel.storage.schema import LabelledImage, SplitName

_READ_BATCH = 256


@dataclass(frozen=True)
class SampleLabel:
    """A label of an image, and where it was ranked.

    Attributes:
        name: Of the label.
        train_count: Training images that have it.
        rank: Among the predictions, from 1; None when it is not among the k best.
        baseline_rank: When labels are ranked by training images, as the baseline does, from 1.
    """

    name: str
    train_count: int
    rank: int | None
    baseline_rank: int


@dataclass(frozen=True)
class Sample:
    """One image.

    Attributes:
        image_id: Its id in the dataset.
        encoded: JPEG bytes.
        labels: Its labels, in the order of class ids.
        predictions: (name, probability), best first; another tool's scores are left as they are.
        others: (name, rank) of the best predictions that are none of its labels.
        k: Predictions that were ranked.
    """

    image_id: str
    encoded: bytes
    labels: tuple[SampleLabel, ...]
    predictions: tuple[tuple[str, float], ...]
    others: tuple[tuple[str, int], ...]
    k: int

    @property
    def found(self) -> list[SampleLabel]:
        """Labels that were ranked as high as they may be expected, rarest first: of many labels,
        few pictures share these."""
        expected = [label for label in self.labels if not self._is_missed(label)]
        return sorted(expected, key=lambda label: (label.train_count, label.rank or 0))

    @property
    def missed(self) -> list[SampleLabel]:
        """Labels that are not among the k best, or lower than the baseline has them; the most
        surprising first."""
        missed = filter(self._is_missed, self.labels)
        return sorted(missed, key=lambda label: (-self.surprise(label), label.baseline_rank))

    def surprise(self, label: SampleLabel) -> int:
        """How many places a label was ranked below its place in the baseline.

        n labels fill n places at the best, so the first n places count as one. A label that is
        not among the k best counts as the next one after them.
        """
        full = len(self.labels)
        rank = self.k + 1 if label.rank is None else label.rank
        return max(rank, full) - max(label.baseline_rank, full)

    def _is_missed(self, label: SampleLabel) -> bool:
        return label.rank is None or self.surprise(label) > 0


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
        top: Predictions kept of each, of all and of those that are none of its labels.
    """
    chosen: dict[str, LabelledImage] = {}
    for image in dataset.iterate(SplitName.HELDOUT):
        chosen[image.image_id] = image
        if len(chosen) > count:
            del chosen[max(chosen, key=_hash)]
    vocabulary = _Vocabulary(dataset)
    origin = read_origin(predictions)
    shown = origin.score_kind.probability if origin else float
    samples = []
    for batch in read_predictions(predictions, _READ_BATCH):
        for image_id, class_ids, scores in zip(
            batch.image_ids, batch.class_ids, batch.scores, strict=True
        ):
            if record := chosen.get(image_id):
                best = [shown(score) for score in scores[:top].tolist()]
                samples.append(vocabulary.sample(record, class_ids.tolist(), best))
    return sorted(samples, key=lambda sample: _hash(sample.image_id))


class _Vocabulary:
    """A dataset's labels: their names, and how frequent each is in training."""

    def __init__(self, dataset: Dataset) -> None:
        labels = dataset.labels()
        self._names: list[str] = labels.column("name").to_pylist()
        self._train_counts = labels.column("train_count").to_numpy()
        self._baseline_ranks = _ranks(self._train_counts)

    def sample(
        self, record: LabelledImage, class_ids: Sequence[int], probabilities: Sequence[float]
    ) -> Sample:
        """Of an image, its ranked classes, and the probabilities of the best of them."""
        ranks = {class_id: rank for rank, class_id in enumerate(class_ids, start=1)}
        names = [self._names[class_id] for class_id in class_ids]
        others = [place for place in ranks.items() if place[0] not in record.label_ids]
        return Sample(
            record.image_id,
            record.encoded,
            labels=tuple(
                SampleLabel(
                    self._names[class_id],
                    int(self._train_counts[class_id]),
                    ranks.get(class_id),
                    int(self._baseline_ranks[class_id]),
                )
                for class_id in record.label_ids
            ),
            predictions=tuple(zip(names, probabilities, strict=False)),
            others=tuple((self._names[c], rank) for c, rank in others[: len(probabilities)]),
            k=len(class_ids),
        )


def _ranks(train_counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """From 1, most images first, equal ones by class id."""
    ranks = np.empty(len(train_counts), np.int64)
    ranks[np.argsort(-train_counts, kind="stable")] = np.arange(1, len(train_counts) + 1)
    return ranks


def _hash(image_id: str) -> bytes:
    return hashlib.blake2b(image_id.encode(), digest_size=8).digest()
