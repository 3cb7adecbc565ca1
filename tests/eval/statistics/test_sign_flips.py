"""Sign flips against all 2^n of them and against scipy.stats.permutation_test."""

from itertools import product

import numpy as np
import pytest
from scipy import stats

from manylabel.eval.statistics.sign_flips import EXACT_TERMS, exact_flip_p, flip_p


def by_hand(terms):
    sums = [abs(sum(s * t for s, t in zip(signs, terms, strict=True))) for signs in _signs(terms)]
    return sum(total >= abs(sum(terms)) - 1e-9 for total in sums) / len(sums)


def _signs(terms):
    return list(product((1, -1), repeat=len(terms)))


@pytest.mark.parametrize("count", range(1, 13))
def test_exact_share_of_all_signs(random, count):
    for _ in range(20):
        smooth = random.normal(0.3, 1, count)
        tied = random.integers(-2, 4, count) / 10  # tenths: equal sums that differ by rounding
        assert exact_flip_p(smooth) == by_hand(smooth)
        assert exact_flip_p(tied) == by_hand(tied)


def test_of_the_most_terms_that_are_counted():
    """Alike: only all signs equal reach the sum, and any signs but 2^-19 of them stay below it."""
    assert flip_p(np.full(EXACT_TERMS, 0.1), flips=10, seed=0) == 2 / 2**EXACT_TERMS
    one_against = np.append(np.full(EXACT_TERMS - 1, 0.1), -0.1)
    assert flip_p(one_against, flips=10, seed=0) == 2 * (1 + EXACT_TERMS) / 2**EXACT_TERMS


def test_exact_agrees_with_scipy(random):
    terms = random.normal(0.4, 1, 11)
    theirs = stats.permutation_test(
        (terms,), np.sum, permutation_type="samples", n_resamples=np.inf, vectorized=False
    )
    assert exact_flip_p(terms) == pytest.approx(theirs.pvalue, abs=1e-12)


@pytest.mark.parametrize("shift", [0.0, 0.15, 0.3])
def test_random_flips_agree_with_scipy(random, shift):
    terms = random.normal(shift, 1, 101)
    theirs = stats.permutation_test(
        (terms,),
        lambda x, axis: np.sum(x, axis=axis),
        permutation_type="samples",
        n_resamples=20_000,
        vectorized=True,
        rng=random,
    )
    assert flip_p(terms, flips=20_000, seed=1) == pytest.approx(theirs.pvalue, abs=0.015)


def test_random_flips_agree_with_the_exact_share(random):
    """30 terms are counted exactly in 2^15 sums of each half; the flips of 100,000 are near."""
    terms = random.normal(0.4, 1, 30)
    exact = exact_flip_p(terms)
    assert 0.001 < exact < 0.5
    assert flip_p(terms, flips=100_000, seed=2) == pytest.approx(exact, abs=0.005)


@pytest.mark.parametrize("count", [12, 500])
def test_zeros_change_nothing_and_negation_nothing(random, count):
    terms = random.normal(0.1, 1, count)
    p = flip_p(terms, flips=1_000, seed=3)
    assert flip_p(np.concatenate([terms, np.zeros(9)]), flips=1_000, seed=3) == p
    assert flip_p(-terms, flips=1_000, seed=3) == p


def test_random_flips_are_never_certain():
    assert flip_p(np.ones(1_000), flips=99, seed=0) == 0.01


@pytest.mark.parametrize("terms", [[], [0.0, 0.0], [0.4], [0.4, -0.4]])
def test_what_shows_nothing_has_p_1(terms):
    assert flip_p(np.array(terms), flips=10, seed=0) == 1.0
