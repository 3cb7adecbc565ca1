"""Sets of integers kept as half-open intervals."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray


class IntervalSet:
    """A set of integers as sorted, disjoint, non-touching intervals [start, stop).

    Memory and time depend on the number of intervals, never on how many integers they hold:
    the records of an epoch are hundreds of millions, the gaps between them a few per worker.
    """

    def __init__(self, intervals: Iterable[tuple[int, int]] = ()) -> None:
        self._starts: list[int] = []
        self._stops: list[int] = []
        for start, stop in intervals:
            self.add(start, stop)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter(list(zip(self._starts, self._stops, strict=True)))

    def __bool__(self) -> bool:
        return bool(self._starts)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, IntervalSet) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]  # mutable

    def __repr__(self) -> str:
        return f"IntervalSet({list(self)})"

    @property
    def size(self) -> int:
        """How many integers the set holds."""
        return sum(self._stops) - sum(self._starts)

    def size_within(self, start: int, stop: int) -> int:
        """How many integers of [start, stop) the set holds."""
        return sum(max(0, min(stop, b) - max(start, a)) for a, b in self)

    def contains(self, start: int, stop: int) -> bool:
        """Whether every integer of the non-empty [start, stop) is in the set."""
        at = bisect_right(self._starts, start) - 1
        return at >= 0 and stop <= self._stops[at]

    def add(self, start: int, stop: int) -> None:
        """Adds [start, stop).

        Raises:
            ValueError: some of it is in the set already, or it is empty.
        """
        if start >= stop:
            raise ValueError(f"expected start < stop. Received: [{start}, {stop})")
        at = bisect_right(self._starts, start)
        if (at > 0 and self._stops[at - 1] > start) or (
            at < len(self._starts) and self._starts[at] < stop
        ):
            raise ValueError(f"[{start}, {stop}) overlaps what the set already holds")
        joins_left = at > 0 and self._stops[at - 1] == start
        joins_right = at < len(self._starts) and self._starts[at] == stop
        if joins_left and joins_right:
            self._stops[at - 1] = self._stops.pop(at)
            self._starts.pop(at)
        elif joins_left:
            self._stops[at - 1] = stop
        elif joins_right:
            self._starts[at] = start
        else:
            self._starts.insert(at, start)
            self._stops.insert(at, stop)

    def remove(self, start: int, stop: int) -> None:
        """Removes [start, stop).

        Raises:
            ValueError: some of it is not in the set.
        """
        if start >= stop or not self.contains(start, stop):
            raise ValueError(f"[{start}, {stop}) is not wholly in the set {self!r}")
        at = bisect_right(self._starts, start) - 1
        left, right = self._starts[at], self._stops[at]
        pieces = [(a, b) for a, b in ((left, start), (stop, right)) if a < b]
        self._starts[at : at + 1] = [a for a, _ in pieces]
        self._stops[at : at + 1] = [b for _, b in pieces]

    def take_first(self, most: int) -> tuple[int, int]:
        """Removes and returns the lowest interval, cut to at most `most` integers.

        Raises:
            IndexError: the set is empty.
        """
        start = self._starts[0]
        stop = min(self._stops[0], start + most)
        self.remove(start, stop)
        return start, stop


def runs(values: NDArray[np.int64]) -> list[tuple[int, int]]:
    """The maximal runs [start, stop) of consecutive integers in `values` (int64[n], any order).

    A value that occurs twice yields overlapping runs, so that a set refuses the second.
    """
    if len(values) == 0:
        return []
    ordered = np.sort(values)
    breaks = np.flatnonzero(np.diff(ordered) != 1) + 1
    return [(int(part[0]), int(part[-1]) + 1) for part in np.split(ordered, breaks)]
