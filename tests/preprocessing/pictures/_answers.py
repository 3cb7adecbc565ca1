"""Ways in which a server answers, and asking it for pictures."""

import asyncio
import time
from contextlib import asynccontextmanager

from manylabel.preprocessing.http_config import HttpConfig
from manylabel.preprocessing.pictures.http_fetch import Fetcher
from manylabel.preprocessing.rejections import ImageRejectedError

PICTURE = bytes(range(256)) * 4
LOOPBACK = "127.0.0.1/32"
SOON = {
    "connect_timeout": 2,
    "deadline": 4,
    "attempts": 1,
    "backoff": 0.01,
    "longest_wait": 0.1,
}


@asynccontextmanager
async def fetcher_of(config):
    fetcher = Fetcher(config)
    try:
        yield fetcher
    finally:
        await fetcher.close()


def fetch_all(urls, max_bytes=2000, at_a_time=1000, **settings):
    """What each gives: bytes, or the rejection."""
    config = HttpConfig(**({"allowed_networks": (LOOPBACK,)} | SOON | settings))

    async def run():
        async with fetcher_of(config) as fetcher:
            turns = asyncio.Semaphore(at_a_time)

            async def fetch_one(url):
                async with turns:
                    return await fetcher.fetch(url, max_bytes)

            asked = (fetch_one(url) for url in urls)
            return await asyncio.gather(*asked, return_exceptions=True)

    start = time.monotonic()
    outcomes = asyncio.run(run())
    assert time.monotonic() - start < 5
    for outcome in outcomes:
        if isinstance(outcome, BaseException) and not isinstance(outcome, ImageRejectedError):
            raise outcome
    return [o if isinstance(o, ImageRejectedError) else o.data for o in outcomes]


def fetch(url, **settings):
    return fetch_all([url], **settings)[0]


def rejection(url, **settings):
    outcome = fetch(url, **settings)
    assert isinstance(outcome, ImageRejectedError), outcome
    assert "\n" not in outcome.detail
    assert len(outcome.detail) < 500
    return outcome


# Ways to answer: functions of the handler.


def whole(status=200, body=PICTURE, **headers):
    return lambda handler: handler.send(status, body, **headers)


def raw(*parts, pause=0.0):
    """These bytes, whatever they mean; then the connection is closed."""

    def answer(handler):
        handler.close_connection = True
        for part in parts:
            handler.wfile.write(part)
            handler.server.closing.wait(pause)

    return answer


def endless(head, part, pause=0.0):
    def answer(handler):
        handler.close_connection = True
        handler.wfile.write(head)
        while not handler.server.closing.wait(pause):
            handler.wfile.write(part)

    return answer


def never(handler):
    handler.server.closing.wait()


def chunked(body, size=100):
    parts = (body[i : i + size] for i in range(0, len(body), size))
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts)
    return raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n")


def location(target, status=302):
    return whole(status, b"elsewhere", Location=target)


OK = b"HTTP/1.1 200 OK\r\n"
