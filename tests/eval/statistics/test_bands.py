"""Parts of a difference by label frequency: they add up to it, in both forms."""

from itertools import pairwise

import numpy as np
import pytest

from manylabel.eval.errors import EvaluationError
from manylabel.eval.statistics.bands import BANDS, band_of, image_bands, part_bands
from manylabel.eval.statistics.differences import holm, image_difference, part_difference
from manylabel.eval.statistics.labels import image_label_differences


def test_bands_meet_without_gap():
    edges = [0, 29, 30, 99, 100, 299, 300, 999, 1_000, 2_999, 3_000, 10**9]
    assert list(band_of(np.array(edges))) == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    for lower, upper in pairwise(BANDS):
        assert lower.high == upper.low - 1
    assert BANDS[-1].high is None


class Images:
    """Labels of images with the gains of two models; the first labels of all weigh nothing."""

    def __init__(self, random, images=300, classes=40, bands=(0, 2, 5)):
        has = random.random((images, classes)) < 0.1
        self.image_rows, self.class_ids = (a.astype(np.int32) for a in np.nonzero(has))
        self.a_gains, self.b_gains = random.random((2, len(self.class_ids)))
        self.weights = random.random(classes)
        self.weights[:5] = 0
        self.label_weight = has @ self.weights
        self.groups = random.integers(0, 200, images)
        self.bands = np.array(bands)[random.integers(0, len(bands), classes)]
        self.counted = self.label_weight > 0
        assert not self.counted.all()

    @property
    def differences(self):
        return image_label_differences(
            self.class_ids,
            self.image_rows,
            self.a_gains,
            self.b_gains,
            self.weights,
            self.label_weight,
        )

    def precision(self, gains):
        """AP_w of each image; NaN where its labels weigh nothing."""
        total = np.full(len(self.groups), np.nan)
        for image in np.flatnonzero(self.counted):
            mine = self.image_rows == image
            weight = self.weights[self.class_ids[mine]]
            total[image] = (weight * gains[mine]).sum() / weight.sum()
        return total

    def by_band(self):
        return image_bands(
            self.class_ids,
            self.image_rows,
            self.differences,
            self.bands,
            self.groups,
            self.counted,
            flips=200,
        )


def test_image_bands_add_up_to_the_headline_difference(random):
    for _ in range(20):
        images = Images(random)
        headline = image_difference(
            images.precision(images.a_gains), images.precision(images.b_gains), images.groups
        )
        total = sum(part.difference.value for part in images.by_band())
        assert total == pytest.approx(headline.value, abs=1e-12)


def test_an_image_band_is_the_difference_of_its_labels_alone(random):
    images = Images(random)
    found = images.by_band()
    assert [part.band for part in found] == [BANDS[0], BANDS[2], BANDS[5]]
    for part in found:
        place = BANDS.index(part.band)
        inside = images.bands[images.class_ids] == place
        expected = image_difference(
            images.precision(np.where(inside, images.a_gains, 0)),
            images.precision(np.where(inside, images.b_gains, 0)),
            images.groups,
            flips=200,
        )
        assert part.labels == len(np.unique(images.class_ids[inside]))
        assert part.difference.value == pytest.approx(expected.value, abs=1e-12)
        assert part.difference.standard_error == pytest.approx(expected.standard_error, rel=1e-9)
        assert part.difference.p_value == expected.p_value
    p_values = [part.difference.p_value for part in found]
    assert [part.p_holm for part in found] == list(holm(np.array(p_values)))


def test_a_band_whose_labels_no_image_has_is_left_out(random):
    images = Images(random)
    images.bands[~np.isin(np.arange(len(images.weights)), images.class_ids)] = 4
    images.bands = np.append(images.bands, 4)  # a class without held-out images
    assert BANDS[4] not in [part.band for part in images.by_band()]


def test_class_bands_add_up_to_the_headline_difference(random):
    labels = np.array([4, 0, 7, 1, 2, 9])
    a, b = random.random((2, 6)) * (labels > 0)
    a_parts, b_parts = random.random((2, 100, 6)) * (labels > 0)
    found = part_bands(a, b, a_parts, b_parts, labels)
    assert [part.band for part in found] == [band for band in BANDS if band != BANDS[1]]
    assert [part.labels for part in found] == [4, 7, 1, 2, 9]
    headline = part_difference(a.sum(), b.sum(), a_parts.sum(axis=1), b_parts.sum(axis=1))
    assert sum(part.difference.value for part in found) == pytest.approx(headline.value, abs=1e-12)
    assert found[1].difference == part_difference(a[2], b[2], a_parts[:, 2], b_parts[:, 2])
    p_values = [part.difference.p_value for part in found]
    assert [part.p_holm for part in found] == list(holm(np.array(p_values)))


def test_bands_of_another_division_are_refused():
    five, six = np.zeros(5), np.zeros(6)
    with pytest.raises(EvaluationError, match="of 6 bands of label frequency, received 5 and 6"):
        part_bands(six, five, np.zeros((9, 6)), np.zeros((9, 6)), np.ones(6, dtype=np.int64))
