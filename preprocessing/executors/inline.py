"""Work in this process, one item after the other."""

from collections.abc import Callable, Generator, Iterable
from typing import Any


class Inline:
    """An executor for a single process, and for tests."""

    def map(
        self, function: Callable[[Any], Any], items: Iterable[Any], batch: int
    ) -> Generator[Any, None, None]:
        yield from map(function, items)
