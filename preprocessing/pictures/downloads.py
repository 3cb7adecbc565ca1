"""Pictures of a batch that are fetched while those before them are looked at."""

import asyncio
import atexit
import threading
from asyncio import Task
from collections import OrderedDict
from collections.abc import Coroutine, Iterable
from functools import cache
from typing import Any, TypeVar

from manylabel.preprocessing.http_config import HttpConfig
from manylabel.preprocessing.pictures.http_fetch import Answer, Fetcher

_T = TypeVar("_T")

_MOST_HELD = 128 << 20
"""Bytes that have arrived and wait for their turn, after which no other picture is begun: a
thousand pictures, while the one in front takes long."""


class Downloads:
    """Fetches in a thread of its own; one thread at a time may ask.

    What is expected is begun in its order, so what is taken next was begun already, and no bound
    can hold it up.
    """

    def __init__(self, config: HttpConfig) -> None:
        self._connections = config.connections
        self._expected: OrderedDict[str, int] = OrderedDict()
        self._begun: dict[str, Task[Answer]] = {}
        self._under_way = 0
        self._held: dict[str, int] = {}
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="downloads", daemon=True).start()
        self._fetcher = self._await(_fetcher(config))

    def expect(self, addresses: Iterable[str], max_bytes: int) -> None:
        """These will be taken in this order, and nothing that was expected before."""
        self._await(self._replace(addresses, max_bytes))

    def take(self, address: str, max_bytes: int) -> Answer:
        """A picture, as soon as it is there; the arguments and errors of `Fetcher.fetch`."""
        return self._await(self._take(address, max_bytes))

    def close(self) -> None:
        """Ends what is under way, and the thread."""
        self.expect((), 0)
        self._await(self._fetcher.close())
        self._loop.call_soon_threadsafe(self._loop.stop)

    def _await(self, coroutine: Coroutine[Any, Any, _T]) -> _T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    async def _replace(self, addresses: Iterable[str], max_bytes: int) -> None:
        for task in self._begun.values():
            task.cancel()
        self._begun.clear()
        self._held.clear()
        self._expected = OrderedDict.fromkeys(addresses, max_bytes)
        self._begin_more()

    async def _take(self, address: str, max_bytes: int) -> Answer:
        if address not in self._begun:
            self._expected.pop(address, None)
            self._begin(address, max_bytes)
        try:
            return await self._begun[address]
        finally:
            del self._begun[address]
            self._held.pop(address, None)
            self._begin_more()

    def _begin_more(self) -> None:
        while (
            self._expected
            and self._under_way < self._connections
            and sum(self._held.values()) < _MOST_HELD
        ):
            self._begin(*self._expected.popitem(last=False))

    def _begin(self, address: str, max_bytes: int) -> None:
        task = self._loop.create_task(self._fetcher.fetch(address, max_bytes), name=address)
        self._begun[address] = task
        self._under_way += 1
        task.add_done_callback(self._end)

    def _end(self, task: Task[Answer]) -> None:
        self._under_way -= 1
        arrived = not task.cancelled() and task.exception() is None
        if arrived and self._begun.get(task.get_name()) is task:
            self._held[task.get_name()] = len(task.result().data)
        self._begin_more()


async def _fetcher(config: HttpConfig) -> Fetcher:
    """In the loop that it lives in."""
    return Fetcher(config)


@cache
def downloads_of(config: HttpConfig) -> Downloads:
    """Those of this process, whose connections last as long as it does."""
    downloads = Downloads(config)
    atexit.register(downloads.close)
    return downloads
