"""The servers that pictures are fetched from: how many ask each, and which are down."""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from manylabel.preprocessing.rejections import RejectReason

_FAILURES = 10
"""In a row, after which a server counts as down. Fewer happen by chance where one picture in ten
fails; each may cost a deadline."""

_REST = 60.0
"""Seconds in which a server that is down is not asked."""

_MOST_HOSTS = 10_000
"""Remembered; a kilobyte each."""


class FetchFailure(Exception):
    """A picture did not arrive at one attempt.

    Attributes:
        passing: It may arrive at the next attempt.
        of_host: The server could not be reached, or was too slow: others will not fare better.
        wait: Seconds that the server asks to wait, if it does.
    """

    def __init__(
        self,
        reason: RejectReason,
        detail: str,
        *,
        passing: bool = False,
        of_host: bool = False,
        wait: float | None = None,
    ) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail
        self.passing = passing
        self.of_host = of_host
        self.wait = wait


class Host:
    """One server.

    Args:
        connections: Pictures that are fetched from it at a time.
        clock: Seconds from any beginning.
    """

    def __init__(self, name: str, connections: int, clock: Callable[[], float]) -> None:
        self._name = name
        self._turns = asyncio.Semaphore(connections)
        self._clock = clock
        self._failures = 0
        self._down_until = 0.0
        self._down = FetchFailure(RejectReason.UNREACHABLE, "")
        self._busy_until = 0.0

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Waits until one may ask the server, and asks in the block.

        Raises:
            FetchFailure: it is left alone for now.
        """
        self._check_up()
        async with self._turns:
            wait = self._busy_until - self._clock()
            if wait > 0:
                await asyncio.sleep(wait)
            self._check_up()
            yield

    def answered(self) -> None:
        """It sent something, be it that it has no such picture."""
        self._failures = 0

    def failed(self, failure: FetchFailure) -> None:
        """After `_FAILURES` in a row it is left alone for a while; then one picture tries it."""
        if not failure.of_host:
            self.answered()
            return
        self._failures += 1
        if self._failures >= _FAILURES:
            detail = (
                f"{self._name} failed {self._failures} times in a row, so it was not asked; the "
                f"last time: {failure.detail}"
            )
            self._leave_alone(RejectReason.UNREACHABLE, detail, _REST)

    def rest(self, seconds: float) -> None:
        """Nobody asks it for so long, because it said so."""
        self._busy_until = max(self._busy_until, self._clock() + seconds)

    def dismissed(self, failure: FetchFailure) -> None:
        """It asks to wait longer than we do; other pictures are not asked for meanwhile."""
        detail = f"{self._name} was not asked, since it answered before: {failure.detail}"
        self._leave_alone(failure.reason, detail, failure.wait or 0.0)

    def _leave_alone(self, reason: RejectReason, detail: str, seconds: float) -> None:
        self._down = FetchFailure(reason, detail)
        self._down_until = self._clock() + seconds

    def _check_up(self) -> None:
        if self._clock() < self._down_until:
            raise FetchFailure(self._down.reason, self._down.detail)


class Hosts:
    """All servers, or those that were asked lately."""

    def __init__(self, connections: int, clock: Callable[[], float]) -> None:
        self._connections = connections
        self._clock = clock
        self._hosts: OrderedDict[str, Host] = OrderedDict()

    def get(self, name: str) -> Host:
        """That of a name, which has its port."""
        host = self._hosts.get(name)
        if host is None:
            host = self._hosts[name] = Host(name, self._connections, self._clock)
            if len(self._hosts) > _MOST_HOSTS:
                self._hosts.popitem(last=False)
        self._hosts.move_to_end(name)
        return host
