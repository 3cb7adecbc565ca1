"""Small random problems: rankings, what is known of the images, and class weights."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from manylabel.eval.ranking.judgements import Judgements, Positives
from manylabel.eval.ranking.measure import Measurement, Rankings, measure

PRECISION_AT = (1, 2, 5)


@dataclass(frozen=True, eq=False)
class Problem:
    """Attributes as the product takes them; labels and negatives also as a set for each image."""

    class_ids: NDArray[np.int32]
    scores: NDArray[np.float32]
    dense: NDArray[np.float32]
    labels: list[set[int]]
    negatives: list[set[int]] | None
    weights: NDArray[np.float64]

    @property
    def images(self) -> int:
        return len(self.labels)

    @property
    def classes(self) -> int:
        return len(self.weights)

    @property
    def judgements(self) -> Judgements:
        negatives = self.negatives and rows_of(self.negatives, self.classes)
        return Judgements(rows_of(self.labels, self.classes), negatives or None)

    def rankings(self, rows: NDArray[np.int64] | None = None) -> Rankings:
        """Of some images, numbered from 0."""
        rows = np.arange(self.images) if rows is None else rows
        rankings = Rankings()
        rankings.add(np.arange(len(rows)), self.class_ids[rows], self.scores[rows])
        return rankings

    def measured(self, weights: NDArray[np.float64] | None = None) -> Measurement:
        weights = self.weights if weights is None else weights
        return measure(self.rankings(), self.judgements, weights, PRECISION_AT)

    def judged(self, row: int) -> list[int]:
        """An image's ranking without what is unknown of it."""
        ranking = self.class_ids[row].tolist()
        if self.negatives is None:
            return ranking
        return [c for c in ranking if c in self.labels[row] or c in self.negatives[row]]


def rows_of(sets: Sequence[set[int]], classes: int) -> Positives:
    row_splits = np.cumsum([0, *(len(each) for each in sets)])
    class_ids = np.array([c for each in sets for c in sorted(each)], dtype=np.int32)
    return Positives(row_splits.astype(np.int64), class_ids, classes)


@pytest.fixture
def make_problem() -> Callable[..., Problem]:
    """make_problem(seed, images=, classes=, k=, ties=, unknown=): sizes are drawn where not given.

    With ties scores have few values, 0.0 and -0.0 among them. Some images lack labels, some
    weights are 0. With unknown there are negatives.
    """
    return draw


def draw(
    seed: int,
    images: int | None = None,
    classes: int | None = None,
    k: int | None = None,
    ties: bool = False,
    unknown: bool = False,
    labels_at_least: int = 0,
) -> Problem:
    rng = np.random.default_rng(seed)
    images = int(rng.integers(1, 9)) if images is None else images
    classes = int(rng.integers(1, 9)) if classes is None else classes
    k = int(rng.integers(1, classes + 1)) if k is None else k
    if ties:
        dense = rng.choice([-1.5, -0.0, 0.0, 2.5], (images, classes)).astype(np.float32)
    else:
        dense = rng.permutation(images * classes).reshape(images, classes).astype(np.float32)
        dense -= np.float32(images * classes // 2)  # Below and above 0.
    order = np.lexsort((np.broadcast_to(np.arange(classes), dense.shape), -dense), axis=1)[:, :k]
    labels, negatives = [], []
    for _ in range(images):
        number = rng.integers(labels_at_least, classes + 1)
        labels.append(set(rng.choice(classes, number, replace=False).tolist()))
        others = [c for c in range(classes) if c not in labels[-1]]
        negatives.append({c for c in others if rng.random() < 0.5})
    return Problem(
        class_ids=order.astype(np.int32),
        scores=np.take_along_axis(dense, order, axis=1),
        dense=dense,
        labels=labels,
        negatives=negatives if unknown else None,
        weights=rng.random(classes) * (rng.random(classes) < 0.9),
    )
