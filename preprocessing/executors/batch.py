"""A batch of items under way."""

from collections import deque
from typing import Any

from manylabel.preprocessing.executors.executor import ATTEMPTS, Lost
from manylabel.preprocessing.executors.outcomes import Done, Raised


class Batch:
    """Items that travel together, and what has become of them so far.

    Attributes:
        outcomes: those that were not fetched yet, in the order of the items.
        deaths: how often the first of the open items ended its process.
    """

    def __init__(self, items: list[Any]) -> None:
        self._items = items
        self._settled = 0
        self.outcomes: deque[Done | Raised | Lost] = deque()
        self.deaths = 0

    def open_items(self) -> list[Any]:
        """Those without an outcome."""
        return self._items[self._settled :]

    def first_open_item(self) -> Any:
        return self._items[self._settled]

    def is_done(self) -> bool:
        return self._settled == len(self._items)

    def is_fetched(self) -> bool:
        return self.is_done() and not self.outcomes

    def is_suspect(self) -> bool:
        """Whether the next end of a process is the last that its first open item may cause."""
        return self.deaths == ATTEMPTS - 1

    def settle(self, outcome: Done | Raised | Lost) -> None:
        """Of the first of the open items."""
        self.outcomes.append(outcome)
        self._items[self._settled] = None  # it may be large
        self._settled += 1
        self.deaths = 0
