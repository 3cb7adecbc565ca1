"""Leaving a part out against measuring what is left; the hash against its published values."""

import re

import numpy as np
import pytest

from manylabel.eval.errors import EvaluationError
from manylabel.eval.ranking.measure import measure
from manylabel.eval.ranking.parts import leave_one_part_out, part_of

BANDS = 3


def assert_equal_to_measuring_the_rest(problem, parts, bands):
    left_out = leave_one_part_out(
        problem.rankings(), problem.judgements, problem.weights, parts, bands, BANDS
    )
    labelled = [row for row, labels in enumerate(problem.labels) if labels]
    assert left_out.part.tolist() == sorted({int(parts[row]) for row in labelled})
    for part, value, by_band in zip(
        left_out.part, left_out.weighted_map_class, left_out.bands, strict=True
    ):
        rows = np.flatnonzero(parts != part)
        rest = measure(problem.rankings(rows), problem.judgements.select(rows), problem.weights, ())
        expected = rest.scores.weighted_map_class
        assert value == pytest.approx(expected, abs=1e-12, nan_ok=True)
        assert by_band.sum() == pytest.approx(value, abs=1e-12, nan_ok=True)
        if not np.isnan(value):
            contributions = np.bincount(bands, rest.classes.contribution, BANDS)
            np.testing.assert_allclose(by_band, contributions, atol=1e-12)


def test_a_part_left_out_is_the_metric_of_the_rest(make_problem):
    for seed in range(400):
        problem = make_problem(seed, ties=bool(seed & 1), unknown=bool(seed & 2))
        rng = np.random.default_rng(seed)
        parts = rng.integers(-2, 4, problem.images)
        bands = rng.integers(0, BANDS, problem.classes)
        assert_equal_to_measuring_the_rest(problem, parts, bands)


@pytest.mark.parametrize("ties", [False, True])
def test_many_images(make_problem, ties):
    problem = make_problem(3, images=300, classes=7, k=4, ties=ties)
    parts = part_of(np.arange(300) // 2, count=11)
    assert_equal_to_measuring_the_rest(problem, parts, np.arange(7) % BANDS)


def test_a_part_is_the_published_hash_of_the_group():
    """The first values of SplitMix64 seeded with 0 and with 1234567."""
    groups = np.array([0, 1234567])
    assert part_of(groups, count=2**62).tolist() == [
        0xE220A8397B1DCDAF % 2**62,
        6457827717110365317 % 2**62,
    ]
    assert part_of(groups).tolist() == [0xE220A8397B1DCDAF % 100, 17]


def test_parts_are_of_nearly_equal_size():
    sizes = np.bincount(part_of(np.arange(-50_000, 50_000)), minlength=100)
    assert len(sizes) == 100
    assert 850 < sizes.min() < sizes.max() < 1150  # 1,000 on average, standard deviation 31.


@pytest.mark.parametrize(
    ("parts", "bands", "message"),
    [
        (np.zeros(3, int), np.zeros(5, int), "parts: expected one for each of 4 images, received"),
        (np.zeros(4, int), np.zeros(4, int), "bands: expected one for each of 5 classes, received"),
        (np.zeros(4, int), np.array([0, 1, 2, 3, 0]), "expected them in [0, 3), received 3"),
        (np.zeros(4, int), np.array([0, -1, 2, 1, 0]), "expected them in [0, 3), received -1"),
    ],
)
def test_parts_and_bands_must_fit(make_problem, parts, bands, message):
    problem = make_problem(0, images=4, classes=5)
    with pytest.raises(EvaluationError, match=re.escape(message)):
        leave_one_part_out(
            problem.rankings(), problem.judgements, problem.weights, parts, bands, BANDS
        )
