"""Work in this process, one item after the other."""

import socket
from collections.abc import Callable, Generator, Iterable
from typing import Any

from manylabel.preprocessing.executors.executor import Task, batches
from manylabel.preprocessing.executors.outcomes import expect


class Inline:
    """An executor for a single process, and for tests."""

    node = socket.gethostname()

    def map(
        self,
        function: Callable[[Any], Any],
        items: Iterable[Any],
        batch: int,
        task: Task | None = None,
    ) -> Generator[Any, None, None]:
        for some in batches(items, batch):
            expect(function, some)
            yield from map(function, some)
