"""What each label adds to a difference, and for which labels that is more than chance."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr

from manylabel.eval.statistics.sign_flips import EXACT_TERMS, exact_flip_p

# The smallest p-value of 7 groups is 2 / 2^7 = 0.016, which never passes among thousands of labels.
MINIMUM_GROUPS = 8
FALSE_DISCOVERY_RATE = 0.10


@dataclass(frozen=True, eq=False)
class LabelTests:
    """Attributes:
    p: float64 [C], of no difference; NaN where the label has too few images.
    q: float64 [C], adjusted by Benjamini and Hochberg over the testable labels; NaN as p.
    testable: Labels with held-out images of at least 8 near-duplicate groups.
    too_few: Labels with a held-out image, but not as many.
    shown_better: Testable labels with q of at most 0.10 and a gain.
    shown_worse: The same with a loss.
    """

    p: NDArray[np.float64]
    q: NDArray[np.float64]
    testable: int
    too_few: int
    shown_better: int
    shown_worse: int

    @classmethod
    def of(
        cls, p: NDArray[np.float64], gained: NDArray[np.float64], groups: NDArray[np.int64]
    ) -> "LabelTests":
        """From each label's p-value (NaN: not testable), gain and number of groups, all [C]."""
        testable = ~np.isnan(p)
        q = np.full(len(p), np.nan)
        if testable.any():
            # Here: it takes 55 MB and a second to load, which readers of tests do without.
            from scipy.stats import false_discovery_control

            q[testable] = false_discovery_control(p[testable])
        shown = q <= FALSE_DISCOVERY_RATE
        return cls(
            p=p,
            q=q,
            testable=int(np.count_nonzero(testable)),
            too_few=int(np.count_nonzero((groups > 0) & ~testable)),
            shown_better=int(np.count_nonzero(shown & (gained > 0))),
            shown_worse=int(np.count_nonzero(shown & (gained < 0))),
        )


def image_label_differences(
    class_ids: NDArray[np.int32],
    image_rows: NDArray[np.int32],
    a_gains: NDArray[np.float64],
    b_gains: NDArray[np.float64],
    weights: NDArray[np.float64],
    label_weight: NDArray[np.float64],
) -> NDArray[np.float64]:
    """What each held-out label adds to its image's a - b: w_c * (gain_a - gain_b) / label_weight.

    Args:
        class_ids: int32 [P], of each held-out label.
        image_rows: int32 [P], its image.
        a_gains: float64 [P], the candidate's precision at its rank, 0 where not found.
        b_gains: The reference's.
        weights: float64 [C], of the classes.
        label_weight: float64 [I], sum of the weights of an image's labels; where it is 0, the
            image is not counted and its labels add 0.

    Returns:
        float64 [P].
    """
    total = label_weight[image_rows]
    gained = weights[class_ids] * (a_gains - b_gains)
    return np.divide(gained, total, out=np.zeros(len(gained)), where=total > 0)


def image_contributions(
    class_ids: NDArray[np.int32],
    differences: NDArray[np.float64],
    num_classes: int,
    images: int,
) -> NDArray[np.float64]:
    """Each label's part of the image form's difference, float64 [C]: the sum is the difference.

    Args:
        class_ids: int32 [P].
        differences: float64 [P], from `image_label_differences`.
        num_classes: C.
        images: Counted images, the denominator of the image form.
    """
    added = np.bincount(class_ids, differences, minlength=num_classes)
    return np.asarray(added / max(images, 1), dtype=np.float64)


def class_contributions(
    a_precision: NDArray[np.float64],
    b_precision: NDArray[np.float64],
    weights: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Each label's part of the class form's difference, w_c * (AP_a - AP_b) / sum of w.

    Args:
        a_precision: float64 [C], the candidate's average precision; NaN for a label that no
            held-out image has, which adds 0.
        b_precision: The reference's.
        weights: float64 [C], of the classes; those with held-out images are summed.
    """
    gained = weights * (a_precision - b_precision)
    present = ~np.isnan(gained)
    total = weights[present].sum()
    return np.divide(gained, total, out=np.zeros(len(gained)), where=present & (total > 0))


def label_tests(
    class_ids: NDArray[np.int32],
    image_rows: NDArray[np.int32],
    differences: NDArray[np.float64],
    groups: NDArray[np.int64],
    num_classes: int,
) -> LabelTests:
    """Tests each label in the image form, near-duplicates counting as one.

    Up to 20 groups that differ at all: every way of swapping the two sides is counted. More:
    Student's t test over the groups' sums.

    Not for the gains of the class form (`class_labels`): one wrong image above all those of a label
    lowers all their gains, so that they are not independent. Of labels that do not differ, this
    test would then reject 12 to 35% at a level of 5%.

    Args:
        class_ids: int32 [P], of each held-out label.
        image_rows: int32 [P], its image.
        differences: float64 [P], candidate minus reference, in any unit that is the same for all
            images of a label (`image_label_differences`).
        groups: int64 [I], the near-duplicate group of each image.
        num_classes: C.
    """
    sums, sizes = sums_by_label(class_ids, groups[image_rows], differences, num_classes)
    starts = np.cumsum(sizes) - sizes
    p, gained = np.full(num_classes, np.nan), np.zeros(num_classes)
    for label in np.flatnonzero(sizes >= MINIMUM_GROUPS):
        terms = sums[starts[label] : starts[label] + sizes[label]]
        moving = terms[terms != 0]
        p[label] = exact_flip_p(moving) if len(moving) <= EXACT_TERMS else _student_p(terms)
        gained[label] = terms.sum()
    return LabelTests.of(p, gained, sizes)


def sums_by_label(
    class_ids: NDArray[np.int32],
    groups: NDArray[np.int64],
    values: NDArray[np.float64],
    num_classes: int,
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Adds up values [P] of the same label and group.

    Returns:
        float64 [N], the sums of the first label's groups, then of the second's, and so on; and the
        number of groups of each label, int64 [C].
    """
    order = np.lexsort((groups, class_ids))
    class_ids, groups = class_ids[order], groups[order]
    new = np.ones(len(order), dtype=bool)
    new[1:] = (class_ids[1:] != class_ids[:-1]) | (groups[1:] != groups[:-1])
    begin = np.flatnonzero(new)
    sums = np.add.reduceat(values[order], begin) if len(begin) else np.zeros(0)
    return sums, np.bincount(class_ids[begin], minlength=num_classes)


def _student_p(terms: NDArray[np.float64]) -> float:
    mean, spread = terms.mean(), terms.std(ddof=1)
    if spread == 0:
        return 0.0 if mean else 1.0
    return float(2 * stdtr(len(terms) - 1, -abs(mean) / spread * np.sqrt(len(terms))))
