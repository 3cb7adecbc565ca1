"""The held-out labels of a dataset, without its pixels."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from manylabel.eval.errors import EvaluationError
from manylabel.eval.ranking.metrics import Positives
from manylabel.storage.dataset import Dataset
from manylabel.storage.schema import SplitName


@dataclass(frozen=True, eq=False)
class HeldoutLabels:
    """The images of the held-out split in ascending order of image id.

    That order, and not the order of a file, decides between images of equal score.

    Attributes:
        rows: Row of each image id.
        positives: Labels by row; every label of a record is a positive, whatever its confidence.
    """

    rows: dict[str, int]
    positives: Positives

    def rows_of(self, image_ids: Sequence[str]) -> NDArray[np.int64]:
        """Rows of the given images, int64 [B].

        Raises:
            EvaluationError: an image is not held out.
        """
        try:
            return np.array([self.rows[image_id] for image_id in image_ids], dtype=np.int64)
        except KeyError as error:
            raise EvaluationError(
                f"predictions hold image {error.args[0]!r}, which is not in the held-out split; "
                "predict again on this dataset"
            ) from error


def read_heldout_labels(dataset: Dataset) -> HeldoutLabels:
    """Reads the split once, holding one record and all labels.

    Raises:
        EvaluationError: the split is empty, an image occurs twice, a label is not in the table.
    """
    labels: dict[str, tuple[int, ...]] = {}
    for image in dataset.iterate(SplitName.HELDOUT):
        if image.image_id in labels:
            raise EvaluationError(
                f"{dataset.root}: image {image.image_id!r} is twice in the held-out split; "
                "preprocess again"
            )
        labels[image.image_id] = image.label_ids
    if not labels:
        raise EvaluationError(
            f"{dataset.root}: the held-out split is empty; preprocess with a larger one"
        )
    rows = {image_id: row for row, image_id in enumerate(sorted(labels))}
    counts = [len(labels[image_id]) for image_id in rows]
    class_ids = np.array([c for image_id in rows for c in labels[image_id]], np.int64)
    positives = Positives(np.concatenate([[0], np.cumsum(counts)]), class_ids.astype(np.int32))
    _check_labels(dataset, list(rows), positives)
    return HeldoutLabels(rows, positives)


def _check_labels(dataset: Dataset, image_ids: list[str], positives: Positives) -> None:
    class_ids, rows = positives.class_ids, positives.rows
    outside = (class_ids < 0) | (class_ids >= dataset.num_classes)
    not_ascending = (np.diff(class_ids, prepend=-1) <= 0) & (np.diff(rows, prepend=-1) == 0)
    wrong = np.flatnonzero(outside | not_ascending)
    if wrong.size:
        raise EvaluationError(
            f"{dataset.root}: expected ascending label ids in [0, {dataset.num_classes}) without "
            f"repeats, received {class_ids[wrong[0]]} in image "
            f"{image_ids[rows[wrong[0]]]!r}; preprocess again"
        )
