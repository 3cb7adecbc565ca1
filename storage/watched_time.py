"""A clock for those who wait for others' words, and may have been stopped themselves."""

import time
from collections.abc import Callable


class WatchedTime:
    """Seconds in which its owner was there to look.

    Between two looks at most `longest_gap` goes by. A process that was stopped for an hour, on a
    machine that was suspended or swapped, has heard nobody meanwhile; that says nothing about
    them, and their words may still be on their way when it goes on.

    Args:
        longest_gap: seconds; more than its owner takes from one look to the next.
    """

    def __init__(self, longest_gap: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._longest_gap, self._clock = longest_gap, clock
        self._last = clock()
        self._watched = 0.0

    def __call__(self) -> float:
        now = self._clock()
        self._watched += min(now - self._last, self._longest_gap)
        self._last = now
        return self._watched
