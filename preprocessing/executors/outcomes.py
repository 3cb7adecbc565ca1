"""What became of an item in another process, and how it travels back."""

import pickle
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from manylabel.preprocessing.errors import PreprocessingError
from manylabel.storage.own_process import portable


@dataclass(frozen=True)
class Done:
    """The function's result."""

    result: Any


@dataclass(frozen=True)
class Raised:
    """What the function raised, or an account of it."""

    error: Exception


def expect(function: Callable[[Any], Any], items: Sequence[Any]) -> None:
    """Tells a function that wants to know it which items it is called with next."""
    told = getattr(function, "expect", None)
    if told is not None:
        told(items)


def attempt_each(function: Callable[[Any], Any], items: Sequence[Any]) -> Iterator[bytes]:
    """Yields what `attempt` returns for each item of a batch."""
    try:
        expect(function, items)
    except Exception as error:
        yield pickle.dumps(Raised(portable(error, PreprocessingError)))
        return
    for item in items:
        yield attempt(function, item)


def attempt(function: Callable[[Any], Any], item: Any) -> bytes:
    """Calls the function; a pickled Done or Raised, the latter also for a result that cannot be
    pickled.

    Whatever is no Exception, a SystemExit for example, ends the process.
    """
    try:
        return pickle.dumps(Done(function(item)), pickle.HIGHEST_PROTOCOL)
    except Exception as error:
        return pickle.dumps(Raised(portable(error, PreprocessingError)))
