"""The class form without a part of the images: what its jackknife interval is made of."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from manylabel.eval.errors import EvaluationError
from manylabel.eval.ranking import class_rankings
from manylabel.eval.ranking.judgements import Judgements
from manylabel.eval.ranking.matching import match
from manylabel.eval.ranking.measure import Rankings, check_weights


@dataclass(frozen=True, eq=False)
class Parts:
    """The class form without each part.

    Attributes:
        part: Parts that hold an image with labels, int64 [P], ascending.
        weighted_map_class: Of the images of all other parts, float64 [P]; NaN where no class of
            weight is left.
        bands: What the classes of each band contribute to it, float64 [P, B]; adds up to it.
    """

    part: NDArray[np.int64]
    weighted_map_class: NDArray[np.float64]
    bands: NDArray[np.float64]


def part_of(groups: NDArray[np.int64], count: int = 100) -> NDArray[np.int64]:
    """The part of each near-duplicate group, int64 [I] in [0, count).

    A hash of the group's number alone, so that evaluations of one dataset have the same parts:
    the finaliser of SplitMix64 (Steele, Lea and Flood, Fast splittable pseudorandom number
    generators, OOPSLA 2014), modulo `count`.

    Args:
        groups: int64 [I].
        count: 100: the class form's standard error, from as many values, is itself within 7%
            (1 / √(2 · 99)).
    """
    mixed = groups.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ mixed >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ mixed >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(31)
    return (mixed % np.uint64(count)).astype(np.int64)


def leave_one_part_out(
    rankings: Rankings,
    judgements: Judgements,
    weights: NDArray[np.float64],
    parts: NDArray[np.int64],
    bands: NDArray[np.int64],
    num_bands: int,
) -> Parts:
    """The weighted class form of the images outside of each part.

    As `measure` of the remaining images, for all parts in one pass.

    Args:
        rankings: Of every image that `judgements` has.
        judgements: As in `measure`.
        weights: As in `measure`.
        parts: The part of each image, int64 [I].
        bands: The band of each class, int64 [C], in [0, num_bands).
        num_bands: B.

    Raises:
        EvaluationError: parts or bands do not fit, or as `measure`.
    """
    check_weights(weights, judgements)
    _check_parts_and_bands(judgements, parts, bands, num_bands)
    positives = judgements.positives
    matched = match(*rankings.by_row(judgements.num_images), judgements)
    present, part_of_image = np.unique(parts, return_inverse=True)
    totals, total_weights = class_rankings.class_form_without(
        *matched.rankings,
        matched.label_starts,
        matched.image_rows,
        part_of_image,
        len(present),
        weights,
        bands,
        num_bands,
    )
    kept = np.bincount(part_of_image, positives.counts, len(present)) > 0
    weight = total_weights[kept, np.newaxis]
    by_band = np.divide(
        totals[kept], weight, out=np.full((len(weight), num_bands), np.nan), where=weight > 0
    )
    return Parts(present[kept], by_band.sum(axis=1), by_band)


def _check_parts_and_bands(
    judgements: Judgements, parts: NDArray[np.int64], bands: NDArray[np.int64], num_bands: int
) -> None:
    if parts.shape != (judgements.num_images,):
        raise EvaluationError(
            f"parts: expected one for each of {judgements.num_images} images, received "
            f"{list(parts.shape)}"
        )
    if bands.shape != (judgements.num_classes,):
        raise EvaluationError(
            f"bands: expected one for each of {judgements.num_classes} classes, received "
            f"{list(bands.shape)}"
        )
    outside = bands[(bands < 0) | (bands >= num_bands)]
    if outside.size:
        raise EvaluationError(f"bands: expected them in [0, {num_bands}), received {outside[0]}")
