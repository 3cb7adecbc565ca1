"""The distribution of a sum when each of its terms may as well have had the other sign.

That is the paired test of two evaluations that differ by chance alone: swapping them on one
near-duplicate group flips the sign of that group's difference.
"""

import numpy as np
from numpy.typing import NDArray

# Up to here the 2^n signs are counted exactly: 0.1 ms of CPU. 10,000 random flips of more terms
# know a p-value of 0.05 to 0.002.
EXACT_TERMS = 20

# Sums that differ by rounding alone are ties; relative to the sum of the terms' sizes.
_ROUNDING = 1e-12

_BITS = 8
_SIGNS = 1.0 - 2.0 * ((np.arange(2**_BITS)[:, np.newaxis] >> np.arange(_BITS)) & 1)


def flip_p(terms: NDArray[np.float64], flips: int, seed: int) -> float:
    """Share of the signs for which |sum| is at least that of `terms` (float64 [N]).

    Exact for at most 20 terms that are not 0; for more from `flips` random signs, the given signs
    counted among them, so that it is never 0 (Phipson and Smyth, 2010). Negated terms have the same
    value exactly.
    """
    terms = terms[terms != 0]
    return exact_flip_p(terms) if len(terms) <= EXACT_TERMS else _random_flip_p(terms, flips, seed)


def exact_flip_p(terms: NDArray[np.float64]) -> float:
    """The share among all 2^N signs.

    Every sum is one of the first half's terms plus one of the second half's: 2^(N/2) of each are
    counted against each other.
    """
    half = len(terms) // 2
    first, second = _all_sums(terms[:half]), np.sort(_all_sums(terms[half:]))
    least = abs(terms.sum()) - _ROUNDING * np.abs(terms).sum()
    if least <= 0:
        return 1.0
    # The sums are symmetric around 0: as many are at most -least.
    at_least = len(first) * len(second) - np.searchsorted(second, least - first).sum()
    return float(2 * at_least / 2 ** len(terms))


def _all_sums(terms: NDArray[np.float64]) -> NDArray[np.float64]:
    sums = np.zeros(1)
    for term in terms:
        sums = np.concatenate([sums - term, sums + term])
    return sums


def _random_flip_p(terms: NDArray[np.float64], flips: int, seed: int) -> float:
    """Eight terms at a time: one random byte picks one of the 256 sums that they can have."""
    padded = np.zeros(-(-len(terms) // _BITS) * _BITS)
    padded[: len(terms)] = terms
    chunks = padded.reshape(-1, _BITS)
    random = np.random.default_rng(seed)
    sums = np.zeros(flips)
    for chunk in chunks:
        sums += (_SIGNS @ chunk)[random.integers(0, 2**_BITS, flips, dtype=np.uint8)]
    least = abs(terms.sum()) - _ROUNDING * np.abs(terms).sum()
    return float((1 + np.count_nonzero(np.abs(sums) >= least)) / (1 + flips))
