"""One picture from a URL: attempts, redirects, what may arrive, and why it did not."""

import asyncio
import os
import re
import socket
import ssl
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import NamedTuple
from urllib.parse import quote, urljoin

import aiohttp
from yarl import URL

from manylabel.preprocessing.http_config import HttpConfig
from manylabel.preprocessing.pictures.addresses import AddressRefusedError, Gate
from manylabel.preprocessing.pictures.fetch import shown
from manylabel.preprocessing.pictures.hosts import FetchFailure, Hosts
from manylabel.preprocessing.rejections import ImageRejectedError, RejectReason
from manylabel.storage.errors import described

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MOST_REDIRECTS = 5
_GONE = frozenset({404, 410})
_FOR_NOW = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses that say nothing about the picture, and may be another the next time (RFC 9110)."""

_URL = re.compile(r"(https?)://([^/?#]*)([^#]*)", re.IGNORECASE | re.DOTALL)
_AS_IT_IS = "".join(map(chr, range(0x21, 0x7F)))
"""Of what follows the server's name: a server may have signed it, letter by letter."""

_NAMES_SECONDS = 300
"""For which a name's addresses are kept; each connection is checked all the same."""


class Answer(NamedTuple):
    """What arrived.

    Attributes:
        described: What the server calls it, for a message.
    """

    data: bytes
    described: str


class Fetcher:
    """Fetches pictures, many at a time, over connections that are kept; lives in one event loop."""

    def __init__(self, config: HttpConfig) -> None:
        self._config = config
        loop = asyncio.get_running_loop()
        # Names that are resolved slowly do not hold up others: the loop's own threads are few.
        loop.set_default_executor(ThreadPoolExecutor(config.connections, "names"))
        self._clock = loop.time
        self._hosts = Hosts(config.connections_per_host, config.longest_wait, loop.time)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0,  # the hosts' turns bound them, before the deadline begins
                ttl_dns_cache=_NAMES_SECONDS,
                resolver=aiohttp.ThreadedResolver(),
                socket_factory=Gate(config.allowed_networks).socket_for,
                ssl=ssl.create_default_context(),
            ),
            # Bytes are taken as they come: what unpacks to gigabytes is no picture before it does.
            auto_decompress=False,
            headers={"User-Agent": config.user_agent, "Accept-Encoding": "identity"},
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=config.connect_timeout),
            trust_env=False,  # a proxy would connect where it likes
        )

    async def close(self) -> None:
        await self._session.close()

    async def fetch(self, address: str, max_bytes: int) -> Answer:
        """A picture, whatever its bytes are.

        Args:
            max_bytes: More are not read.

        Raises:
            ImageRejectedError: it did not arrive, or cannot be asked for.
        """
        try:
            url = _parsed(address)
        except ValueError as error:
            raise ImageRejectedError(RejectReason.BAD_URL, _line(error)) from error
        for attempt in range(self._config.attempts):
            try:
                return await self._attempt(url, max_bytes, again=attempt > 0)
            except FetchFailure as failure:
                host, wait = failure.host, self._wait(failure, attempt)
                if wait is None:
                    if host is not None:
                        host.failed(failure)
                    raise ImageRejectedError(failure.reason, failure.detail) from failure
                if host is not None and failure.wait is not None:
                    host.rest(wait)
                await asyncio.sleep(wait)
        raise AssertionError("the last attempt returns or raises")

    def _wait(self, failure: FetchFailure, attempt: int) -> float | None:
        """Seconds until the next attempt; None for no other."""
        if not failure.passing or attempt + 1 == self._config.attempts:
            return None
        if failure.wait is not None and failure.wait > self._config.longest_wait:
            return None
        backoff = min(self._config.backoff * 2**attempt, self._config.longest_wait)
        return max(backoff, failure.wait or 0.0)

    async def _attempt(self, url: URL, max_bytes: int, *, again: bool) -> Answer:
        """Each redirect waits its turn at the server that it leads to; raises FetchFailure."""
        left = self._config.deadline
        for _ in range(_MOST_REDIRECTS + 1):
            host = self._hosts.get(url.authority)
            async with host.turn(again=again):
                began = self._clock()
                answer = await self._ask(url, max_bytes, left)
                left -= self._clock() - began
            host.answered()
            if isinstance(answer, Answer):
                return answer
            url = answer
        detail = f"redirects go on after {_MOST_REDIRECTS}, the last one to {_named(url)}"
        raise FetchFailure(RejectReason.BAD_RESPONSE, detail)

    async def _ask(self, url: URL, max_bytes: int, seconds: float) -> Answer | URL:
        """What arrives, or where else it is; raises FetchFailure."""
        try:
            async with (
                asyncio.timeout(seconds),
                self._session.get(url, allow_redirects=False) as response,
            ):
                if response.status in _REDIRECTS:
                    return _followed(url, response)
                _check_status(response)
                return Answer(await _body(response, max_bytes), _described(response))
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise self._told(error, url) from error

    def _told(self, error: Exception, url: URL) -> FetchFailure:
        """What went wrong, by who failed; most particular first."""
        where = f"{url.host}:{url.port}"
        if isinstance(error, aiohttp.ConnectionTimeoutError):
            detail = f"{where}: no connection within {self._config.connect_timeout:g} seconds"
            return FetchFailure(RejectReason.UNREACHABLE, detail, of_host=True)
        if isinstance(error, TimeoutError):
            detail = f"{where}: not all arrived within {self._config.deadline:g} seconds"
            return FetchFailure(RejectReason.TOO_SLOW, detail, of_host=True)
        if isinstance(error, aiohttp.ClientConnectorError):
            return _unreachable(error, where)
        if isinstance(error, ValueError):  # Of a name that cannot be resolved, say.
            return FetchFailure(RejectReason.BAD_URL, f"{where}: {_line(error)}")
        if isinstance(error, aiohttp.ClientPayloadError | aiohttp.ClientResponseError):
            detail = f"{where}: {_line(error)}"
            if isinstance(error, aiohttp.ClientResponseError):  # Its text has the query.
                what = " ".join(f"{error.status} {error.message}".split())
                detail = f"{where}: {shown(f'{type(error).__name__}: {what}')}"
            return FetchFailure(RejectReason.BAD_RESPONSE, detail, passing=True)
        return FetchFailure(
            RejectReason.UNREACHABLE, f"{where}: {_line(error)}", passing=True, of_host=True
        )


def _unreachable(error: aiohttp.ClientConnectorError, where: str) -> FetchFailure:
    if isinstance(error.os_error, AddressRefusedError):
        detail = (
            f"{where}: {error.os_error.strerror}; catalog.http.allowed_networks says which "
            "others are allowed"
        )
        return FetchFailure(RejectReason.ADDRESS_REFUSED, detail)
    if isinstance(error, aiohttp.ClientSSLError):
        detail = f"{where}: its certificate is not trusted or TLS failed: {_line(error)}"
        return FetchFailure(RejectReason.UNREACHABLE, detail, of_host=True)
    number = error.os_error.errno or 0
    reason = os.strerror(number) if number > 0 else error.os_error.strerror  # A name's are below.
    detail = f"{where}: {reason or _line(error.os_error)}"
    passing = number != socket.EAI_NONAME  # There is no such name.
    return FetchFailure(RejectReason.UNREACHABLE, detail, passing=passing, of_host=True)


def _parsed(address: str) -> URL:
    """Raises ValueError."""
    parts = _URL.match(address)
    if parts is None:
        raise ValueError(f"expected an http or https URL, received {shown(address)!r}")
    scheme, authority, rest = parts.groups()
    origin = URL(f"{scheme.lower()}://{authority}")
    if not origin.raw_host or origin.port is None:
        raise ValueError(f"expected a URL with the name of a server, received {shown(address)!r}")
    if origin.raw_user is not None or origin.raw_password is not None:
        raise ValueError("expected a URL without a user's name and password")
    if not rest.startswith("/"):
        rest = f"/{rest}"
    quoted = quote(rest, safe=_AS_IT_IS, errors="surrogateescape")
    return URL(f"{origin.scheme}://{origin.raw_authority}{quoted}", encoded=True)


def _followed(url: URL, response: aiohttp.ClientResponse) -> URL:
    """Where a redirect leads. The address there is checked when it is connected to."""
    location = response.headers.get("Location")
    if not location:
        raise FetchFailure(RejectReason.BAD_RESPONSE, "a redirect that does not say where to")
    try:
        target = _parsed(urljoin(str(url), location))
    except ValueError as error:
        raise FetchFailure(RejectReason.BAD_RESPONSE, f"a redirect: {_line(error)}") from error
    if url.scheme == "https" and target.scheme == "http":
        detail = f"a redirect from https to {_named(target)}, where anyone could change the picture"
        raise FetchFailure(RejectReason.BAD_RESPONSE, detail)
    return target


def _check_status(response: aiohttp.ClientResponse) -> None:
    status = response.status
    if status in (200, 203):
        return
    detail = f"{status} {_phrase(status)}"
    if status in _GONE:
        raise FetchFailure(RejectReason.MISSING_FILE, detail)
    if status == 204:
        raise FetchFailure(RejectReason.EMPTY_FILE, detail)
    if status in _FOR_NOW:
        wait = _asked_to_wait(response.headers.get("Retry-After", ""))
        if wait is not None:
            detail += f", to be asked again after {wait:.0f} seconds"
        raise FetchFailure(
            RejectReason.NOT_SERVED_NOW, detail, passing=True, of_host=True, wait=wait
        )
    if 400 <= status < 500:
        raise FetchFailure(RejectReason.UNREADABLE_FILE, detail)
    raise FetchFailure(RejectReason.BAD_RESPONSE, f"expected the status 200, received {detail}")


def _phrase(status: int) -> str:
    """Not the server's own, which may be anything."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "(no status of HTTP)"


def _asked_to_wait(text: str) -> float | None:
    """Seconds, of a header Retry-After: a number of them or a date (RFC 9110, 10.2.3)."""
    if text.strip().isascii() and text.strip().isdigit():
        return min(float(text), 1e9)
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, OverflowError):  # The latter of a year that no date has.
        return None
    date = date if date.tzinfo is not None else date.replace(tzinfo=UTC)
    return max(0.0, (date - datetime.now(UTC)).total_seconds())


async def _body(response: aiohttp.ClientResponse, max_bytes: int) -> bytes:
    declared = response.content_length
    if declared is not None and declared > max_bytes:
        raise FetchFailure(
            RejectReason.TOO_MANY_BYTES, f"{declared} bytes, images.max_bytes is {max_bytes}"
        )
    data = bytearray()
    async for block in response.content.iter_any():
        data += block
        if len(data) > max_bytes:
            detail = f"no length was said, and no end came within images.max_bytes, {max_bytes}"
            raise FetchFailure(RejectReason.BAD_RESPONSE, detail)
    if not data:
        raise FetchFailure(RejectReason.EMPTY_FILE, "an answer of 0 bytes")
    return bytes(data)


def _described(response: aiohttp.ClientResponse) -> str:
    kind, coding = (response.headers.get(f"Content-{name}", "") for name in ("Type", "Encoding"))
    return shown(", ".join(filter(None, (kind, coding))).encode("ascii", "replace").decode())


def _named(url: URL) -> str:
    """For a message: without a query, which may hold a key."""
    return shown(f"{url.origin()}{url.raw_path}")


def _line(error: Exception) -> str:
    return shown(described(error))
