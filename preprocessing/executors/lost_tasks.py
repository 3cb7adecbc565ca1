"""What is done about a batch whose worker or node was lost, in whichever order they are lost."""

from dataclasses import dataclass, replace
from enum import Enum, auto

from manylabel.preprocessing.executors.executor import ATTEMPTS, Lost

NODE_LOSSES = 10
"""How often a batch may lose its node. It is not to blame for that, so it is no matter of
ATTEMPTS; but ten after each other are no mishap any more."""


class End(Enum):
    """How a task ended without an answer."""

    WORKER = auto()  # its process ended
    MEMORY = auto()  # likewise, because the node was short of memory
    NODE = auto()  # its node, or the way to it, was lost


class Next(Enum):
    """What to do with it."""

    AT_ONCE = auto()
    AT_ITS_TURN = auto()  # when all before it is done, so that little else is at work
    ONE_BY_ONE = auto()  # each item as a batch of its own, at its turn
    GIVEN_UP = auto()
    HOPELESS = auto()  # it is not the items


@dataclass(frozen=True)
class History:
    """Of a batch: how often its process ended, and its node was lost."""

    deaths: int = 0
    nodes: int = 0

    def after(self, end: End) -> "History":
        """With one end more."""
        if end is End.NODE:
            return replace(self, nodes=self.nodes + 1)
        return replace(self, deaths=self.deaths + 1)

    def next(self, end: End, items: int) -> Next:
        """What to do, when `end` was the last that happened to a batch of so many items."""
        if end is End.NODE:
            return Next.HOPELESS if self.nodes == NODE_LOSSES else Next.AT_ONCE
        if items > 1:
            return Next.ONE_BY_ONE  # one item did it
        if self.deaths == ATTEMPTS:
            return Next.GIVEN_UP
        # Memory may be short because of what runs beside it; and so it is with the last attempt.
        alone = end is End.MEMORY or self.deaths == ATTEMPTS - 1
        return Next.AT_ITS_TURN if alone else Next.AT_ONCE


def given_up(end: End) -> Lost:
    """In place of the result of an item whose process ended each time, the last time so."""
    memory = ", the last time for want of memory" if end is End.MEMORY else ""
    return Lost(f"its process ended three times{memory}")
