"""The servers that pictures are fetched from: how many ask each, and which are down."""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from manylabel.preprocessing.rejections import RejectReason

_FAILURES = 10
"""Pictures in a row, after which a server counts as down. Fewer happen by chance where one picture
in ten fails; each may cost a deadline."""

_REST = 60.0
"""Seconds in which a server that is given up is not asked."""

_MOST_HOSTS = 10_000
"""Remembered; a kilobyte each."""


class FetchFailure(Exception):
    """A picture did not arrive at one attempt.

    Attributes:
        passing: It may arrive at the next attempt.
        of_host: The server could not be reached, was too slow or has no time: others will not
            fare better.
        wait: Seconds that the server asks to wait, if it does.
        host: The server that failed, where one was asked; a redirect may have led to it.
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
        self.host: Host | None = None


class Host:
    """One server: up, down or given up.

    When it goes down for the first time, all wait for it, then one picture tries it. If that fails,
    or when it goes down again, it is given up: its pictures are refused, but for one that tries it
    after each `_REST` seconds. Any answer means that it is up.

    Args:
        connections: Pictures that are fetched from it at a time.
        patience: Seconds to wait for it when it is down, once, or when it asks for that.
        clock: Seconds from any beginning.
    """

    def __init__(
        self, name: str, connections: int, patience: float, clock: Callable[[], float]
    ) -> None:
        self._name = name
        self._turns = asyncio.Semaphore(connections)
        self._patience = patience
        self._clock = clock
        self._failures = 0
        self._busy_until = 0.0
        self._down: FetchFailure | None = None
        self._down_until = 0.0
        self._tried = False
        self._waited_for = False
        self._decided = asyncio.Event()

    @asynccontextmanager
    async def turn(self, *, again: bool) -> AsyncIterator[None]:
        """Waits until one may ask the server, and asks in the block.

        Args:
            again: A further attempt, which a server that went down meanwhile is asked for all the
                same.

        Raises:
            FetchFailure: it is given up for now.
        """
        while True:
            async with self._turns:
                await asyncio.sleep(max(0.0, self._busy_until - self._clock()))
                if again or self._may_ask():
                    try:
                        yield
                    except FetchFailure as failure:
                        failure.host = self
                        raise
                    return
            with suppress(TimeoutError):  # Without a turn, which who tries it may need.
                async with asyncio.timeout(self._down_until - self._clock()):
                    await self._decided.wait()

    def answered(self) -> None:
        """It sent something, be it that it has no such picture."""
        self._failures = 0
        self._down = None
        self._decided.set()

    def failed(self, failure: FetchFailure) -> None:
        """A picture is given up, after all its attempts."""
        if failure.wait is not None and failure.wait > self._patience:
            detail = f"{self._name} was not asked, since it answered before: {failure.detail}"
            self._give_up(failure.reason, detail, failure.wait)
        elif not failure.of_host:
            self.answered()
        else:
            self._failures += 1
            if self._failures >= _FAILURES and (self._down is None or self._tried):
                self._go_down(failure)

    def rest(self, seconds: float) -> None:
        """Nobody asks it for so long, because it said so."""
        self._busy_until = max(self._busy_until, self._clock() + seconds)

    def _go_down(self, failure: FetchFailure) -> None:
        busy = failure.reason is RejectReason.NOT_SERVED_NOW
        reason = failure.reason if busy else RejectReason.UNREACHABLE
        detail = (
            f"{self._name} failed {self._failures} times in a row, so it was not asked; the last "
            f"time: {failure.detail}"
        )
        if self._waited_for:
            self._give_up(reason, detail, _REST)
            return
        self._waited_for = True
        self._decided.clear()
        self._leave_alone(reason, detail, self._patience)

    def _give_up(self, reason: RejectReason, detail: str, seconds: float) -> None:
        self._leave_alone(reason, detail, seconds)
        self._decided.set()

    def _leave_alone(self, reason: RejectReason, detail: str, seconds: float) -> None:
        self._down = FetchFailure(reason, detail)
        self._down_until = self._clock() + seconds
        self._tried = False

    def _may_ask(self) -> bool:
        """Whether to ask it, or else to wait; raises FetchFailure where it is given up."""
        if self._down is None:
            return True
        if self._clock() >= self._down_until:
            self._down_until = self._clock() + _REST  # The others hear what this one finds.
            self._tried = True
            return True
        if self._decided.is_set():
            raise FetchFailure(self._down.reason, self._down.detail)
        return False


class Hosts:
    """All servers, or those that were asked lately."""

    def __init__(self, connections: int, patience: float, clock: Callable[[], float]) -> None:
        self._connections = connections
        self._patience = patience
        self._clock = clock
        self._hosts: OrderedDict[str, Host] = OrderedDict()

    def get(self, name: str) -> Host:
        """That of a name, which has its port."""
        host = self._hosts.get(name)
        if host is None:
            host = self._hosts[name] = Host(name, self._connections, self._patience, self._clock)
            if len(self._hosts) > _MOST_HOSTS:
                self._hosts.popitem(last=False)
        self._hosts.move_to_end(name)
        return host
