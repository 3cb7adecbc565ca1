"""What each label adds to a difference, and for which labels that is more than chance."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr
from scipy.stats import false_discovery_control

from manylabel.eval.statistics.sign_flips import EXACT_TERMS, exact_flip_p

# With fewer than 8 groups no outcome passes: the smallest p-value of 7 is 2 / 2^7 = 0.016 and
# thousands of labels are tested together.
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
    return np.bincount(class_ids, differences, minlength=num_classes) / images


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
    return np.where(present, gained, 0.0) / weights[present].sum()


def label_tests(
    class_ids: NDArray[np.int32],
    image_rows: NDArray[np.int32],
    differences: NDArray[np.float64],
    groups: NDArray[np.int64],
    num_classes: int,
) -> LabelTests:
    """Tests each label's differences over its images, near-duplicates counting as one.

    Sums of at most 20 groups that differ at all: every way of swapping both sides is counted. More:
    Student's t test over the groups' sums.

    Args:
        class_ids: int32 [P], of each held-out label.
        image_rows: int32 [P], its image.
        differences: float64 [P], candidate minus reference, in any unit that is the same for all
            images of a label.
        groups: int64 [I], the near-duplicate group of each image.
        num_classes: C.
    """
    sums, starts, sizes = _sums_by_label(class_ids, groups[image_rows], differences, num_classes)
    testable = np.flatnonzero(sizes >= MINIMUM_GROUPS)
    p, q = np.full(num_classes, np.nan), np.full(num_classes, np.nan)
    total = np.zeros(num_classes)
    for label in testable:
        terms = sums[starts[label] : starts[label] + sizes[label]]
        total[label] = terms.sum()
        moving = terms[terms != 0]
        p[label] = exact_flip_p(moving) if len(moving) <= EXACT_TERMS else _student_p(terms)
    q[testable] = false_discovery_control(p[testable]) if len(testable) else np.nan
    shown = q <= FALSE_DISCOVERY_RATE
    return LabelTests(
        p=p,
        q=q,
        testable=len(testable),
        too_few=int(np.count_nonzero((sizes > 0) & (sizes < MINIMUM_GROUPS))),
        shown_better=int(np.count_nonzero(shown & (total > 0))),
        shown_worse=int(np.count_nonzero(shown & (total < 0))),
    )


def _sums_by_label(
    class_ids: NDArray[np.int32],
    groups: NDArray[np.int64],
    differences: NDArray[np.float64],
    num_classes: int,
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """Sums of each label's groups, one after another; where each label's begin; how many."""
    order = np.lexsort((groups, class_ids))
    class_ids, groups = class_ids[order], groups[order]
    new = np.ones(len(order), dtype=bool)
    new[1:] = (class_ids[1:] != class_ids[:-1]) | (groups[1:] != groups[:-1])
    begin = np.flatnonzero(new)
    sums = np.add.reduceat(differences[order], begin) if len(begin) else np.zeros(0)
    sizes = np.bincount(class_ids[begin], minlength=num_classes)
    return sums, np.cumsum(sizes) - sizes, sizes


def _student_p(terms: NDArray[np.float64]) -> float:
    mean, spread = terms.mean(), terms.std(ddof=1)
    if spread == 0:
        return 0.0 if mean else 1.0
    return float(2 * stdtr(len(terms) - 1, -abs(mean) / spread * np.sqrt(len(terms))))
