"""From values to positions: scales, round values on them, labels that keep apart."""

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Scale:
    """Maps values of [low, high] to positions; `start` is where `low` lies.

    Attributes:
        logarithmic: Equal factors are equally long; low must be positive then.
    """

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool = False

    def __call__(self, value: float) -> float:
        low, high = self._place(self.low), self._place(self.high)
        share = (self._place(value) - low) / (high - low) if high > low else 0.5
        return self.start + share * (self.end - self.start)

    def holds(self, value: float) -> bool:
        """Whether a value lies within the scale's ends."""
        return self.low <= value <= self.high

    def ticks(self, most: int) -> list[float]:
        """Round values within the ends, at most `most` of them."""
        ticks = _logarithmic_ticks if self.logarithmic else round_values
        return ticks(self.low, self.high, most)

    def _place(self, value: float) -> float:
        return math.log(value) if self.logarithmic else value


def round_values(low: float, high: float, most: int) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten within [low, high], at most `most` (>= 2)."""
    if not high > low:
        return [low]
    step = 10.0 ** math.floor(math.log10((high - low) / max(most, 1)))
    for factor in (1, 2, 5, 10, 20, 50, 100):
        first, last = (
            math.ceil(low / (step * factor) - 1e-9),
            math.floor(high / (step * factor) + 1e-9),
        )
        if last - first + 1 <= most:
            return [place * step * factor for place in range(first, last + 1)]
    return []


def padded(low: float, high: float, share: float = 0.06) -> tuple[float, float]:
    """A range a little wider than its values; one of no width gets some."""
    room = (high - low) * share or abs(high) * share or 1.0
    return low - room, high + room


def spread(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Positions at least `gap` apart, each near the one wanted, within [low, high] if they fit.

    For labels beside lines: two that would cover each other move apart.
    """
    order = sorted(range(len(wanted)), key=lambda index: wanted[index])
    placed = [0.0] * len(wanted)
    before = -math.inf
    for index in order:
        before = placed[index] = max(wanted[index], before + gap, low)
    after = math.inf
    for index in reversed(order):
        after = placed[index] = min(placed[index], after - gap, high)
    return placed


def _logarithmic_ticks(low: float, high: float, most: int) -> list[float]:
    """Powers of ten within [low, high]; with few of those also 2 and 5 times them, or any round
    values where not even three of these lie within."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    powers = [10.0**power for power in range(first, min(last, sys.float_info.max_10_exp) + 1)]
    for factors in ((1,), (1, 2, 5)):
        found = [power * factor for power in powers for factor in factors]
        found = [
            value for value in found if low <= value * (1 + 1e-9) and value <= high * (1 + 1e-9)
        ]
        if len(found) > 2:
            return found[:: math.ceil(len(found) / most)]
    return round_values(low, high, most)
