"""For which labels a difference of the class form is more than chance.

The gains of a label's images are not independent in the class form: one image without the label,
ranked above all that have it, lowers every gain. So a label is tested by what its average precision
would be without each of its images, and without each image ranked among them that lacks it. Who
those are is not stored, but how many lie between two of the label's images follows from the gains.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr

from manylabel.eval.statistics.labels import MINIMUM_GROUPS, LabelTests, sums_by_label


@dataclass(frozen=True, eq=False)
class ClassGains:
    """One side's held-out labels in the class form, in the order of the other side's.

    Attributes:
        gains: float64 [P], precision at the image's place in its label's ranking; 0: not found.
        scores: float32 [P], by which the label ranks its images, best first; NaN: not found.
    """

    gains: NDArray[np.float64]
    scores: NDArray[np.float32]


def class_label_tests(
    class_ids: NDArray[np.int32],
    image_rows: NDArray[np.int32],
    a: ClassGains,
    b: ClassGains,
    groups: NDArray[np.int64],
    num_classes: int,
) -> LabelTests:
    """Tests each label's difference in average precision by Student's t, with a jackknife's error.

    The variance has two parts: images with the label are paired between both sides and added up by
    near-duplicate group; images without it are not (they would have to be known), as if each side
    had met others. That errs on the safe side: a label is shown less often than it could be.

    Args:
        class_ids: int32 [P], of each held-out label.
        image_rows: int32 [P], its image.
        a: The candidate's.
        b: The reference's.
        groups: int64 [I], the near-duplicate group of each image.
        num_classes: C.
    """
    counts = np.bincount(class_ids, minlength=num_classes)
    a_effects, a_variance = _without_each(class_ids, a, counts)
    b_effects, b_variance = _without_each(class_ids, b, counts)
    sums, sizes = sums_by_label(class_ids, groups[image_rows], a_effects - b_effects, num_classes)
    label = np.repeat(np.arange(num_classes), sizes)
    squares = np.bincount(label, sums**2, minlength=num_classes)

    tested = np.flatnonzero(sizes >= MINIMUM_GROUPS)
    gained = np.asarray(
        np.bincount(class_ids, a.gains - b.gains, minlength=num_classes), np.float64
    )
    value, degrees = gained[tested] / counts[tested], sizes[tested] - 1
    error = np.sqrt(degrees / sizes[tested] * squares[tested] + (a_variance + b_variance)[tested])
    # An error of 0 shows nothing by itself: all images of a label found first by one side and by
    # the other not at all. 2^(1 - G) is what the exact test of G groups can show at most.
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where(value == 0, 0.0, np.abs(value) / error)
    p = np.full(num_classes, np.nan)
    p[tested] = np.maximum(2 * stdtr(degrees, -t), 2.0 ** (1 - sizes[tested]))
    return LabelTests.of(p, gained, sizes)


def _without_each(
    class_ids: NDArray[np.int32], side: ClassGains, counts: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What leaving images out does to the average precision of their label.

    Of a label with N images, the one at place j among them has the gain j / (j + F), with F images
    that lack the label above it. Without an image above it that has the label, the gain would be
    (j - 1) / (j - 1 + F); without one that lacks it, j / (j + F - 1).

    Returns:
        By how much each image that has the label raises it, float64 [P]; and, by label, the sum of
        squares of the same over the images that lack it, float64 [C].
    """
    order = np.lexsort((-side.scores, class_ids))  # not found: NaN, last
    label, gain = class_ids[order], side.gains[order]
    rankings = _Segments(label, counts)
    place, images = rankings.place, counts[label]
    found = gain > 0
    wrong = np.divide(place, gain, out=place.astype(np.float64), where=found) - place

    shortened = (place - 1) / np.maximum(place - 1 + wrong, 1) * found
    kept = rankings.up_to(gain) - gain + rankings.below(shortened)
    effects = np.empty(len(order))
    effects[order] = rankings.total(gain)[label] / images - kept / np.maximum(images - 1, 1)

    raised = (place / (place + np.maximum(wrong - 1, 0)) - gain) * found
    effect_of_wrong = (raised + rankings.below(raised)) / images
    wrong_above_last = np.where(place > 1, np.roll(wrong, 1), 0)
    between = np.maximum(wrong - wrong_above_last, 0)  # 0 at images that were not found
    return effects, rankings.total(between * effect_of_wrong**2)


class _Segments:
    """Sums within the rankings of the labels, which lie one after another."""

    def __init__(self, label: NDArray[np.int32], counts: NDArray[np.int64]) -> None:
        """Takes the label of each place, ascending, [P], and how many places each has, [C]."""
        self._label, self._counts = label, counts
        self._start = (np.cumsum(counts) - counts)[label]
        self.place = np.arange(1, len(label) + 1) - self._start

    def total(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Of each label, float64 [C]."""
        sums = np.bincount(self._label, values, minlength=len(self._counts))
        return np.asarray(sums, dtype=np.float64)

    def up_to(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Of the places down to each, with it, float64 [P]."""
        sums = np.cumsum(values)
        return sums - (sums - values)[self._start]

    def below(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Of the places below each, float64 [P]."""
        return self.total(values)[self._label] - self.up_to(values)
