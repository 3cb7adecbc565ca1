"""What a measurement is made of."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class OverallScores:
    """One number for all; NaN where nothing counts.

    Attributes:
        weighted_map_image: Mean of the images' weighted average precision.
        weighted_map_class: Mean of the classes' average precision, weighted by class.
        map_image: The image form with equal weights: trec_eval's map_cut_k.
        map_class: The class form with equal weights.
        recall: Labels found / labels, mean over images.
        precision: By rank n, labels found among the n best / n, mean over images (also where
            fewer than n classes are judged).
    """

    weighted_map_image: float
    weighted_map_class: float
    map_image: float
    map_class: float
    recall: float
    precision: dict[int, float]


@dataclass(frozen=True)
class MeasuredCounts:
    """What the means are taken over.

    Attributes:
        images: With labels.
        images_without_labels: In no mean over images; wrong wherever a class ranks them.
        images_without_weight: Images whose labels all weigh 0: of `images`, but not in the
            weighted mean.
    """

    images: int
    images_without_labels: int
    images_without_weight: int


@dataclass(frozen=True, eq=False)
class ImageScores:
    """By image row.

    Attributes:
        labels: int64 [I].
        label_weight: Σ of the labels' weights, float64 [I].
        average_precision: float64 [I]; NaN for an image without labels.
        weighted_average_precision: float64 [I]; NaN for one without weight.
    """

    labels: NDArray[np.int64]
    label_weight: NDArray[np.float64]
    average_precision: NDArray[np.float64]
    weighted_average_precision: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class LabelScores:
    """By label of an image, in order of class id and then of image row.

    Attributes:
        class_ids: int32 [P].
        image_rows: int32 [P].
        rank: int32 [P], in its image's ranking, counting what is judged, from 1; 0 when not found.
        gain: float64 [P], precision at that rank; 0 when not found.
        class_gain: float64 [P], expected precision at its place in its class's ranking of the
            images; 0 when not found.
        score: float32 [P]; NaN when not found.
    """

    class_ids: NDArray[np.int32]
    image_rows: NDArray[np.int32]
    rank: NDArray[np.int32]
    gain: NDArray[np.float64]
    class_gain: NDArray[np.float64]
    score: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class ClassScores:
    """By class id.

    Attributes:
        average_precision: Σ class_gain / positives, float64 [C]; NaN for a class that no image has.
        positives: Images that have it, int64 [C].
        hits: Those of them whose k best hold it, int64 [C].
        contribution: float64 [C], adds up to the class form; 0 for a class that no image has.
        image_contribution: float64 [C], adds up to the image form.
    """

    average_precision: NDArray[np.float64]
    positives: NDArray[np.int64]
    hits: NDArray[np.int64]
    contribution: NDArray[np.float64]
    image_contribution: NDArray[np.float64]
