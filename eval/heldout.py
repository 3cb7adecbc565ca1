"""The held-out images of a dataset: their labels and near-duplicates, without their pixels."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from manylabel.eval.config import UnknownKind
from manylabel.eval.errors import EvaluationError
from manylabel.eval.ranking.judgements import Judgements, Positives
from manylabel.storage.dataset import Dataset
from manylabel.storage.schema import SplitName


@dataclass(frozen=True, eq=False)
class Heldout:
    """The images of the held-out split in ascending order of image id.

    Attributes:
        rows: Row of each image id.
        groups: Near-duplicate group of each row, int64 [I].
        judgements: Labels by row; every label of a record is a positive, whatever its confidence.
    """

    rows: dict[str, int]
    groups: NDArray[np.int64]
    judgements: Judgements

    def rows_of(self, image_ids: Sequence[str]) -> NDArray[np.int64]:
        """Rows of the given images, int64 [B].

        Raises:
            EvaluationError: an image is not held out.
        """
        try:
            return np.array([self.rows[image_id] for image_id in image_ids], dtype=np.int64)
        except KeyError as error:
            raise EvaluationError(
                f"predictions hold image {error.args[0]!r:.200}, which is not in the held-out "
                "split; predict again on this dataset"
            ) from error


class _Judged(NamedTuple):
    image_id: str
    label_ids: Sequence[int]
    negative_ids: Sequence[int]


def read_heldout(dataset: Dataset, unknown: UnknownKind) -> Heldout:
    """Reads the split's indexes, and its records where verified absences count.

    Raises:
        EvaluationError: the split is empty, an image occurs twice, a label is not in the table, or
            unknown labels are to be ignored and no absence was verified.
        StorageError: a file of the dataset is missing, damaged, or of another dataset.
    """
    read = _from_records if unknown is UnknownKind.IGNORE else _from_indexes
    judged: dict[str, _Judged] = {}
    for image in read(dataset):
        if image.image_id in judged:
            raise EvaluationError(
                f"{dataset.root}: image {image.image_id!r:.200} is twice in the held-out split; "
                "preprocess again"
            )
        judged[image.image_id] = image
    if not judged:
        raise EvaluationError(
            f"{dataset.root}: the held-out split is empty; preprocess with a larger one"
        )
    ordered = [judged[image_id] for image_id in sorted(judged)]
    positives = _compressed(dataset, ordered, [image.label_ids for image in ordered])
    negatives = None
    if unknown is UnknownKind.IGNORE:
        negatives = _compressed(dataset, ordered, [image.negative_ids for image in ordered])
    if negatives is not None and not negatives.class_ids.size:
        raise EvaluationError(
            f"{dataset.root}: eval.unknown is ignore, but no absence of a label was verified "
            "(confidence 0 in the catalog), so that no prediction could be wrong; set it to "
            "negative"
        )
    rows = {image.image_id: row for row, image in enumerate(ordered)}
    return Heldout(rows, _groups(dataset, rows), Judgements(positives, negatives))


def _from_indexes(dataset: Dataset) -> Iterator[_Judged]:
    for shard in dataset.split(SplitName.HELDOUT).shards:
        index = dataset.read_index(shard)
        for image_id, label_ids in zip(
            index.column("image_id").to_pylist(),
            index.column("label_ids").to_pylist(),
            strict=True,
        ):
            yield _Judged(image_id, label_ids, ())


def _from_records(dataset: Dataset) -> Iterator[_Judged]:
    for image in dataset.iterate(SplitName.HELDOUT):
        yield _Judged(image.image_id, image.label_ids, image.negative_ids)


def _compressed(
    dataset: Dataset, images: Sequence[_Judged], class_ids: Sequence[Sequence[int]]
) -> Positives:
    """The classes of each image as compressed rows."""
    counts = [len(ids) for ids in class_ids]
    ids = np.fromiter((c for of_image in class_ids for c in of_image), np.int64, sum(counts))
    rows = np.repeat(np.arange(len(counts)), counts)
    outside = (ids < 0) | (ids >= dataset.num_classes)
    not_ascending = (np.diff(ids, prepend=-1) <= 0) & (np.diff(rows, prepend=-1) == 0)
    wrong = np.flatnonzero(outside | not_ascending)
    if wrong.size:  # Positives would refuse them as well, but knows no image by its name.
        raise EvaluationError(
            f"{dataset.root}: expected ascending label ids in [0, {dataset.num_classes}) without "
            f"repeats, received {ids[wrong[0]]} in image {images[rows[wrong[0]]].image_id!r:.200}; "
            "preprocess again"
        )
    row_splits = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return Positives(row_splits, ids.astype(np.int32), dataset.num_classes)


def _groups(dataset: Dataset, rows: dict[str, int]) -> NDArray[np.int64]:
    images = dataset.heldout_images()
    received = images.column("image_id").to_pylist()
    if received != list(rows):
        other = next((a for a, b in zip(received, rows, strict=False) if a != b), received[-1])
        raise EvaluationError(
            f"{dataset.root}: expected the images of the held-out shards in "
            f"heldout_images.parquet, received {other!r:.200} in another one's place; preprocess "
            "again"
        )
    groups: NDArray[np.int64] = images.column("near_duplicate_group").to_numpy()
    return groups
