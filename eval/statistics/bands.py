"""From which labels a difference comes, by how often they were trained: parts that add up to it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from manylabel.eval.errors import EvaluationError
from manylabel.eval.statistics.differences import (
    Difference,
    group_difference,
    holm,
    part_difference,
)
from manylabel.eval.statistics.estimates import GroupSums


@dataclass(frozen=True)
class Band:
    """Labels with `low` to `high` training images, both included; None: no upper end."""

    name: str
    low: int
    high: int | None


# Half decades; at 17,000 labels of the paper's shape each holds over a thousand of them.
BANDS = (
    Band("under 30", 0, 29),
    Band("30–99", 30, 99),
    Band("100–299", 100, 299),
    Band("300–999", 300, 999),
    Band("1,000–2,999", 1_000, 2_999),
    Band("3,000 and more", 3_000, None),
)


@dataclass(frozen=True)
class BandDifference:
    """What the labels of a band add to the headline difference.

    Attributes:
        labels: Labels of the band that a held-out image has.
        p_holm: The difference's p-value, adjusted by Holm for all bands that are there.
    """

    band: Band
    labels: int
    difference: Difference
    p_holm: float


def band_of(train_counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Place in BANDS of each label, int64 [C], from its training images."""
    return np.searchsorted([band.low for band in BANDS], train_counts, side="right") - 1


def image_bands(
    class_ids: NDArray[np.int32],
    image_rows: NDArray[np.int32],
    differences: NDArray[np.float64],
    bands: NDArray[np.int64],
    groups: NDArray[np.int64],
    counted: NDArray[np.bool_],
    flips: int = 10_000,
    seed: int = 0,
) -> list[BandDifference]:
    """The image form's difference by band; the values add up to the mean over counted images.

    Args:
        class_ids: int32 [P], of each held-out label.
        image_rows: int32 [P], its image.
        differences: float64 [P], what it adds to its image's difference
            (`labels.image_label_differences`).
        bands: int64 [C], from `band_of`.
        groups: int64 [I], the near-duplicate group of each image.
        counted: bool [I], the images that the headline counts: those whose labels weigh anything.
        flips: See `image_difference`.
        seed: See `image_difference`.
    """
    labels = np.bincount(bands[np.unique(class_ids)], minlength=len(BANDS))
    place = bands[class_ids]
    found = []
    for band in np.flatnonzero(labels):
        inside = place == band
        values = np.bincount(image_rows[inside], differences[inside], minlength=len(groups))
        summed = GroupSums.of(np.where(counted, values, np.nan), groups)
        found.append(group_difference(summed, flips, seed))
    return _family(labels, found)


def part_bands(
    a_values: NDArray[np.float64],
    b_values: NDArray[np.float64],
    a_parts: NDArray[np.float64],
    b_parts: NDArray[np.float64],
    labels: NDArray[np.int64],
) -> list[BandDifference]:
    """The class form's difference by band; the values add up to the difference of the sums.

    Args:
        a_values: float64 [B], the candidate's contribution of each band of BANDS.
        b_values: The reference's.
        a_parts: float64 [P, B], the candidate's contributions without each part of the images.
        b_parts: The reference's, without the same parts.
        labels: int64 [B], labels of each band that a held-out image has.

    Raises:
        EvaluationError: The two sides have different parts, or not all bands.
    """
    shapes = {array.shape[-1] for array in (a_values, b_values, a_parts, b_parts, labels)}
    if shapes != {len(BANDS)}:
        raise EvaluationError(
            f"expected contributions of {len(BANDS)} bands of label frequency, received "
            f"{' and '.join(map(str, sorted(shapes)))}; evaluate both again"
        )
    found = [
        part_difference(a_values[band], b_values[band], a_parts[:, band], b_parts[:, band])
        for band in np.flatnonzero(labels)
    ]
    return _family(labels, found)


def _family(labels: NDArray[np.int64], found: Sequence[Difference]) -> list[BandDifference]:
    adjusted = holm(np.array([difference.p_value for difference in found]))
    places = np.flatnonzero(labels)
    return [
        BandDifference(BANDS[place], int(labels[place]), difference, float(p))
        for place, difference, p in zip(places, found, adjusted, strict=True)
    ]
