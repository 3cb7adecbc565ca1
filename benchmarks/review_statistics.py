"""Claim: all statistics of a review take at most 10 CPU seconds at the paper's size, both forms.

14,000 images in about 12,400 near-duplicate groups, 17,000 labels, 36.5 labels an image, 100 parts,
200 checkpoints; gains are drawn, since only their number matters. Peer, in the same run: scipy's
permutation_test of the headline's groups and of each testable label, image form only, measured on a
sample and scaled up; with as many flips as the headline has (10,000, or all where there are fewer).
The claim's second half: at least 10 times faster than that.

    python benchmarks/review_statistics.py [--rounds 3]

CPU seconds, all threads; medians of rounds. Ends with 1 when the claim does not hold.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from manylabel.eval.statistics.bands import BANDS, band_of, image_bands, part_bands
from manylabel.eval.statistics.class_labels import ClassGains, class_label_tests
from manylabel.eval.statistics.differences import image_difference, part_difference
from manylabel.eval.statistics.estimates import image_estimate, jackknife_estimate
from manylabel.eval.statistics.labels import (
    MINIMUM_GROUPS,
    class_contributions,
    image_contributions,
    image_label_differences,
    label_tests,
)
from manylabel.eval.statistics.plateau import undistinguished_images, undistinguished_parts

IMAGES, CLASSES, POSITIVES = 14_000, 17_000, 511_000
PARTS, CHECKPOINTS, FLIPS = 100, 200, 10_000
CLAIM_SECONDS, CLAIM_RATIO = 10.0, 10.0
PEER_LABELS, PEER_FLIPS = 40, 100  # the sample


class Evaluations:
    """Two evaluations side by side, and the values of all checkpoints of a run."""

    def __init__(self) -> None:
        random = np.random.default_rng(0)
        # 15% of the images in groups of about four, as in the simulated sets of the tests.
        shared = random.random(IMAGES) < 0.15
        self.groups = np.where(shared, -random.integers(1, 500, IMAGES), np.arange(IMAGES))
        frequency = 1 / (np.arange(CLASSES) + 20.0)
        self.train_counts = np.round(3e6 * frequency / frequency.sum()).astype(np.int64)
        self.weights = frequency / frequency.sum()
        self.class_ids, self.image_rows = _labels(random, frequency / frequency.sum())
        self.bands = band_of(self.train_counts)
        weight = self.weights[self.class_ids]
        self.label_weight = _sums(self.image_rows, weight, IMAGES)
        self.gains = _two_alike(random, random.random(POSITIVES) ** 2)
        self.class_gains = [_class_gains(random, self.class_ids) for _ in range(2)]
        counted = self.label_weight > 0
        self.values = [np.full(IMAGES, np.nan) for _ in range(2)]
        for values, gains in zip(self.values, self.gains, strict=True):
            total = _sums(self.image_rows, weight * gains, IMAGES)
            values[counted] = total[counted] / self.label_weight[counted]
        self.counted = counted
        counts = np.bincount(self.class_ids, minlength=CLASSES)
        self.precision = [
            np.where(
                counts > 0,
                _sums(self.class_ids, side.gains, CLASSES) / np.maximum(counts, 1),
                np.nan,
            )
            for side in self.class_gains
        ]
        self.band_labels = np.bincount(self.bands[counts > 0], minlength=len(BANDS))
        self.parts = 0.03 + 1e-4 * random.random((2, PARTS, len(BANDS)))
        self.run_values = (0.2 + 0.3 * random.random((CHECKPOINTS, IMAGES))).astype(np.float32)
        self.run_parts = 0.2 + 1e-3 * random.random((CHECKPOINTS, PARTS))


def _sums(
    place: NDArray[np.integer], values: NDArray[np.float64], length: int
) -> NDArray[np.float64]:
    return np.asarray(np.bincount(place, values, minlength=length), dtype=np.float64)


def _labels(
    random: np.random.Generator, share: NDArray[np.float64]
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Different pairs of label and image, common labels more often, by label and then image."""
    drawn: NDArray[np.int64] = np.zeros(0, dtype=np.int64)
    while len(drawn) < POSITIVES:
        labels = random.choice(CLASSES, POSITIVES, p=share)
        more = labels * IMAGES + random.integers(0, IMAGES, POSITIVES)
        drawn = np.unique(np.concatenate([drawn, more]))
    kept = np.sort(random.choice(drawn, POSITIVES, replace=False))
    return (kept // IMAGES).astype(np.int32), (kept % IMAGES).astype(np.int32)


def _two_alike(
    random: np.random.Generator, gains: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The gains, and others that differ in a third of the places."""
    moved = random.random(len(gains)) < 1 / 3
    return gains, np.where(moved, random.random(len(gains)) ** 2, gains)


def _class_gains(random: np.random.Generator, class_ids: NDArray[np.int32]) -> ClassGains:
    """One wrong image before each right one, on average; a third of the labels not found."""
    scores = random.random(len(class_ids)).astype(np.float32)
    order = np.lexsort((-scores, class_ids))
    counts = np.bincount(class_ids, minlength=CLASSES)
    start = (np.cumsum(counts) - counts)[class_ids[order]]
    place = np.arange(1, len(order) + 1) - start
    wrong = np.cumsum(random.poisson(1.0, len(order)))
    gains = np.empty(len(order))
    gains[order] = place / (place + wrong - wrong[start])
    lost = scores < 1 / 3
    return ClassGains(np.where(lost, 0, gains), np.where(lost, np.float32(np.nan), scores))


def headline(e: Evaluations) -> None:
    """Both sides' estimates and their difference, both forms."""
    for values, parts in zip(e.values, e.parts, strict=True):
        image_estimate(values, e.groups)
        jackknife_estimate(0.2, parts.sum(axis=1))
    a, b = e.values
    image_difference(a, b, e.groups, FLIPS)
    part_difference(0.2, 0.2001, *e.parts.sum(axis=2))


def bands(e: Evaluations) -> None:
    """Contributions of six bands, both forms."""
    image_bands(e.class_ids, e.image_rows, _differences(e), e.bands, e.groups, e.counted, FLIPS)
    a, b = e.parts
    part_bands(a.mean(axis=0), b.mean(axis=0), a, b, e.band_labels)


def labels(e: Evaluations) -> None:
    """Contributions and tests of every label, both forms."""
    differences = _differences(e)
    image_contributions(e.class_ids, differences, CLASSES, IMAGES)
    label_tests(e.class_ids, e.image_rows, differences, e.groups, CLASSES)
    (a_precision, b_precision), (a, b) = e.precision, e.class_gains
    class_contributions(a_precision, b_precision, e.weights)
    class_label_tests(e.class_ids, e.image_rows, a, b, e.groups, CLASSES)


def checkpoints(e: Evaluations) -> None:
    """The undistinguished among 200 checkpoints, both forms."""
    undistinguished_images(e.run_values, e.groups)
    undistinguished_parts(e.run_parts.mean(axis=1), e.run_parts)


def _differences(e: Evaluations) -> NDArray[np.float64]:
    return image_label_differences(e.class_ids, e.image_rows, *e.gains, e.weights, e.label_weight)


def peer_seconds(e: Evaluations) -> float:
    """scipy's flips of the headline and of every testable label, image form, scaled up."""
    _, place = np.unique(e.groups, return_inverse=True)
    sums = _sums(place, e.values[0] - e.values[1], place.max() + 1)
    one = cpu_seconds(partial(_permutation_test, sums, PEER_FLIPS)) * FLIPS / PEER_FLIPS
    differences = _differences(e)
    counts = np.bincount(e.class_ids, minlength=CLASSES)
    testable = np.flatnonzero(counts >= MINIMUM_GROUPS)
    sample = np.random.default_rng(1).choice(testable, PEER_LABELS, replace=False)
    by_label = [differences[e.class_ids == label] for label in sample]
    each = [cpu_seconds(partial(_permutation_test, terms, FLIPS)) for terms in by_label]
    return one + statistics.mean(each) * len(testable)


def _permutation_test(terms: NDArray[np.float64], flips: int) -> None:
    stats.permutation_test(
        (terms,),
        lambda x, axis: np.sum(x, axis=axis),
        permutation_type="samples",
        n_resamples=flips,
        vectorized=True,
        batch=max(1, 10**6 // len(terms)),  # 8 MB at a time
        rng=np.random.default_rng(0),
    )


def cpu_seconds(work: Callable[[], object]) -> float:
    """CPU seconds of one call, of all threads."""
    began = time.process_time()
    work()
    return time.process_time() - began


def main() -> None:
    """Prints each part's CPU seconds; ends with 1 when together they are too slow."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    evaluations = Evaluations()
    parts = (headline, bands, labels, checkpoints)
    measured = [[cpu_seconds(partial(part, evaluations)) for part in parts] for _ in range(rounds)]
    for part, seconds in zip(parts, zip(*measured, strict=True), strict=True):
        print(f"{part.__name__}: {statistics.median(seconds):.2f} s", flush=True)
    total = statistics.median(map(sum, measured))
    peer = peer_seconds(evaluations)
    print(
        f"all {total:.2f} CPU s (rounds {', '.join(f'{sum(row):.2f}' for row in measured)}); "
        f"scipy's permutation_test {peer:.0f} CPU s; {peer / total:.0f} times"
    )
    if total > CLAIM_SECONDS or peer < CLAIM_RATIO * total:
        sys.exit(f"expected at most {CLAIM_SECONDS} s and {CLAIM_RATIO} times less than scipy")


if __name__ == "__main__":
    main()
