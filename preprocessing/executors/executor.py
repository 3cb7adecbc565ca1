"""What an executor is."""

import reprlib
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from typing import Any, Protocol

from manylabel.preprocessing.errors import PreprocessingError

ATTEMPTS = 3
"""How often an item may end its process before it is given up. A process also ends for want of
memory or by an operator's hand, so once proves nothing."""

_HOPELESS = 10
"""Items in a row. At three processes each it takes half a minute to find out; that ten pictures
after each other are deadly, and all between them, would be a wonder."""


class Task(StrEnum):
    """What an executor is given to do, as Ray's own tools and a job's status name it."""

    CHECK_PICTURES = "check pictures"
    FIND_SHARDS = "find shards"
    WRITE_SHARDS = "write shards"


@dataclass(frozen=True)
class Lost:
    """In place of a result: the item was given up, because its process ended each time.

    Attributes:
        reason: for the user, as in "its process ended three times, the last time by signal 9
            (SIGKILL)".
    """

    reason: str


class Losses:
    """Ends a job in which nothing but losses comes any more."""

    def __init__(self) -> None:
        self._in_a_row = 0

    def note(self, item: Any, outcome: object) -> None:
        """Of one item, of which `outcome` says what became.

        Raises:
            PreprocessingError: it is one of many that were lost, and no other was done meanwhile:
                then it is the machine, and the next would fare no better.
        """
        if not isinstance(outcome, Lost):
            self._in_a_row = 0
            return
        self._in_a_row += 1
        if self._in_a_row == _HOPELESS:
            raise PreprocessingError(
                f"{_HOPELESS} items in a row were given up, the last one "
                f"{reprlib.repr(item)}: {outcome.reason}; if it is for want of memory, let fewer "
                "processes work at a time"
            )


class Executor(Protocol):
    @property
    def node(self) -> str:
        """Where the result that a map gave last was made: the address of a node of the cluster, or
        this machine's name."""

    def map(
        self,
        function: Callable[[Any], Any],
        items: Iterable[Any],
        batch: int,
        task: Task | None = None,
    ) -> Generator[Any | Lost, None, None]:
        """Applies a function to each item, in this process or in others.

        One map at a time, from whichever thread. Ending it early ends what is under way at once.

        Args:
            function: can be pickled by name, as a function of a module or a functools.partial of
                one can; so can items and results. Where it has a method `expect`, that is called
                with the items of each batch before the first of them.
            items: read as they are needed, a few batches ahead of the results.
            batch: items that travel to a process together, at least 1; more when they are quick.
            task: what tasks are named by; None: by the function.

        Yields:
            Results in the order of the items.

        Raises:
            Exception: what `function` raised, at its item's turn.
            PreprocessingError: where the work is done is no longer there.
        """


def batches(items: Iterable[Any], batch: int) -> Iterator[list[Any]]:
    """Lists of `batch` items, the last one shorter, read as they are asked for."""
    iterator = iter(items)
    while taken := list(islice(iterator, batch)):
        yield taken
