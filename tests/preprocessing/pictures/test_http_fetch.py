"""One picture from a server that does what servers do."""

import asyncio
import gzip
import socket
import unicodedata

import pytest

from manylabel.preprocessing.http_config import HttpConfig
from manylabel.preprocessing.rejections import RETRYABLE, RejectReason
from tests.preprocessing.pictures._answers import (
    LOOPBACK,
    OK,
    PICTURE,
    chunked,
    endless,
    fetch,
    fetch_all,
    fetcher_of,
    location,
    never,
    raw,
    rejection,
    whole,
)

GOOD = {
    "its length is said": PICTURE,
    "chunked": chunked(PICTURE),
    "until the connection ends": raw(OK + b"\r\n", PICTURE),
    "in two parts": raw(
        OK + b"Content-Length: 1024\r\n\r\n" + PICTURE[:9], PICTURE[9:], pause=0.05
    ),
    "HTTP/1.0": raw(b"HTTP/1.0 200 OK\r\nContent-Length: 1024\r\n\r\n" + PICTURE),
    "as large as may be": bytes(2000),
    "called something else": whole(Content_Type="text/html; charset=nonsense"),
    "moved for ever": location("/there", 301),
    "moved, and asked for by GET": location("/there", 303),
    "moved by its name alone": location("there?a=b#c", 307),
    "moved to another name of the server": lambda handler: handler.send(
        308, Location=handler.server.url("/there", "localhost")
    ),
}


@pytest.mark.parametrize("answer", GOOD.values(), ids=GOOD.keys())
def test_a_picture_that_arrives(server, answer):
    server.answers |= {"/a.jpg": answer, "/there": PICTURE}
    expected = answer if isinstance(answer, bytes) else PICTURE
    networks = (LOOPBACK, "::1/128")
    assert fetch(server.url("/a.jpg"), allowed_networks=networks, deadline=4) == expected


BAD = {
    "not there": (whole(404), RejectReason.MISSING_FILE, "404 Not Found"),
    "gone": (whole(410), RejectReason.MISSING_FILE, "410 Gone"),
    "forbidden": (whole(403), RejectReason.UNREADABLE_FILE, "403 Forbidden"),
    "a password is wanted": (whole(401), RejectReason.UNREADABLE_FILE, "401 Unauthorized"),
    "forbidden by law": (whole(451), RejectReason.UNREADABLE_FILE, "451 Unavailable For Legal"),
    "too many requests": (whole(429), RejectReason.NOT_SERVED_NOW, "429 Too Many Requests"),
    "overloaded": (whole(503), RejectReason.NOT_SERVED_NOW, "503 Service Unavailable"),
    "broken": (whole(500), RejectReason.NOT_SERVED_NOW, "500 Internal Server Error"),
    "behind a broken gateway": (whole(502), RejectReason.NOT_SERVED_NOW, "502 Bad Gateway"),
    "nothing": (whole(body=b""), RejectReason.EMPTY_FILE, "0 bytes"),
    "nothing, and says so": (whole(204, b""), RejectReason.EMPTY_FILE, "204 No Content"),
    "a part": (whole(206), RejectReason.BAD_RESPONSE, "expected the status 200, received 206"),
    "not known": (whole(299), RejectReason.BAD_RESPONSE, "299 (no status of HTTP)"),
    "too large": (whole(body=bytes(2001)), RejectReason.TOO_MANY_BYTES, "2001 bytes, images.max"),
    "too large, chunked": (chunked(bytes(2001)), RejectReason.BAD_RESPONSE, "no end came within"),
    "without end": (endless(OK + b"\r\n", PICTURE), RejectReason.BAD_RESPONSE, "no end came"),
    "chunks without end": (
        endless(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"5\r\nabcde\r\n"),
        RejectReason.BAD_RESPONSE,
        "no end came within images.max_bytes, 2000",
    ),
    "headers without end": (endless(OK, b"A: b\r\n"), RejectReason.BAD_RESPONSE, ""),
    "a header without end": (endless(OK + b"A: ", b"b" * 99), RejectReason.BAD_RESPONSE, ""),
    "less than its length": (
        raw(OK + b"Content-Length: 1024\r\n\r\n" + PICTURE[:-1]),
        RejectReason.BAD_RESPONSE,
        "ContentLengthError",
    ),
    "a chunk cut short": (
        raw(OK + b"Transfer-Encoding: chunked\r\n\r\n400\r\nabc"),
        RejectReason.BAD_RESPONSE,
        "TransferEncodingError",
    ),
    "chunks that are none": (
        raw(OK + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n"),
        RejectReason.BAD_RESPONSE,
        "",
    ),
    "a length that is none": (
        raw(OK + b"Content-Length: -1\r\n\r\n" + PICTURE),
        RejectReason.BAD_RESPONSE,
        "",
    ),
    "not HTTP": (raw(b"220 ftp.example.org ready\r\n"), RejectReason.BAD_RESPONSE, ""),
    "hangs up": (raw(b""), RejectReason.UNREACHABLE, "ServerDisconnectedError"),
    "silent": (never, RejectReason.TOO_SLOW, "not all arrived within 0.3 seconds"),
    "silent in the headers": (endless(OK, b""), RejectReason.TOO_SLOW, "within 0.3 seconds"),
    "a header byte by byte": (endless(OK + b"A: ", b"b", 0.02), RejectReason.TOO_SLOW, "0.3"),
    "byte by byte": (endless(OK + b"\r\n", b"b", 0.02), RejectReason.TOO_SLOW, "within 0.3"),
    "byte by byte within its length": (
        endless(OK + b"Content-Length: 1024\r\n\r\n", b"b", 0.02),
        RejectReason.TOO_SLOW,
        "not all arrived within 0.3 seconds",
    ),
    "round in a circle": (location("/a.jpg"), RejectReason.BAD_RESPONSE, "after 5, the last"),
    "to nowhere": (whole(302, b"elsewhere"), RejectReason.BAD_RESPONSE, "does not say where to"),
    "to a file": (location("file:///etc/passwd"), RejectReason.BAD_RESPONSE, "file:///etc/passwd"),
    "to data": (location("data:image/png,abc"), RejectReason.BAD_RESPONSE, "http or https URL"),
    "to a URL that is none": (location("http://[::"), RejectReason.BAD_RESPONSE, "ValueError"),
    "with a password": (
        location("http://me:secret@127.0.0.1/"),
        RejectReason.BAD_RESPONSE,
        "without a user's name and password",
    ),
    "to the metadata of a cloud": (
        location("http://169.254.169.254/latest/"),
        RejectReason.ADDRESS_REFUSED,
        "169.254.169.254 is no public address; catalog.http.allowed_networks says which",
    ),
    "to the metadata in IPv6": (
        location("http://[::ffff:169.254.169.254]/latest/"),
        RejectReason.ADDRESS_REFUSED,
        "is no public address",
    ),
    "to a number that is an address": (
        location("http://2130706434/"),
        RejectReason.BAD_URL,
        "not a canonical IPv4 address",
    ),
}


@pytest.mark.parametrize(("answer", "reason", "detail"), BAD.values(), ids=BAD.keys())
def test_what_does_not_arrive_has_a_reason(server, answer, reason, detail):
    server.answers |= {"/a.jpg": answer}
    deadline = 0.3 if reason is RejectReason.TOO_SLOW else 4
    outcome = rejection(server.url("/a.jpg"), deadline=deadline)
    assert (outcome.reason, detail in outcome.detail) == (reason, True), outcome
    assert reason in RETRYABLE or reason in (RejectReason.TOO_MANY_BYTES, RejectReason.BAD_URL)
    assert "secret" not in outcome.detail


def test_no_server(server):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        outcome = rejection(f"http://127.0.0.1:{closed.getsockname()[1]}/a.jpg")
    assert outcome.reason is RejectReason.UNREACHABLE
    assert outcome.detail.endswith("Connection refused")


def test_no_such_name():
    outcome = rejection("http://name.invalid/a.jpg", deadline=5)
    assert outcome.reason is RejectReason.UNREACHABLE
    assert outcome.detail.startswith("name.invalid:80: ")


def test_a_name_that_no_one_can_have():
    outcome = rejection(f"http://{'x' * 64}.com/a.jpg")
    assert outcome.reason is RejectReason.BAD_URL


def test_no_connection():
    """A server whose queue of connections is full: the kernel leaves further ones unanswered."""
    with socket.socket() as full, socket.socket() as first, socket.socket() as second:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for connection in (first, second):
            connection.setblocking(False)
            connection.connect_ex(full.getsockname())
        outcome = rejection(f"http://127.0.0.1:{full.getsockname()[1]}/a.jpg", connect_timeout=0.2)
    assert outcome.reason is RejectReason.UNREACHABLE
    assert outcome.detail.endswith("no connection within 0.2 seconds")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.0.0.2", "[::ffff:127.0.0.1]"])
def test_a_private_address_is_not_connected_to(server, host):
    server.answers |= {"/a.jpg": PICTURE}
    outcome = rejection(server.url("/a.jpg", host), allowed_networks=("10.0.0.0/8",))
    assert outcome.reason is RejectReason.ADDRESS_REFUSED
    assert server.connections == 0


def test_a_redirect_to_a_private_address_is_not_followed(server):
    """The first address is allowed, the second one is not."""
    server.answers |= {"/a.jpg": location(server.url("/secret", "127.0.0.2"))}
    assert rejection(server.url("/a.jpg")).reason is RejectReason.ADDRESS_REFUSED


def test_a_name_is_asked_again_and_the_address_it_has_then_is_judged(server, monkeypatch):
    """DNS rebinding: allowed when it is looked at first, private when it is connected to."""
    answers = iter(["127.0.0.1", "127.0.0.2"])
    real = socket.getaddrinfo

    def resolve(host, port, *args, **kwargs):
        return real(next(answers) if host == "rebinding.example" else host, port, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    server.answers |= {"/a.jpg": PICTURE}
    url = server.url("/a.jpg", "rebinding.example")
    assert fetch(url) == PICTURE
    assert rejection(url).reason is RejectReason.ADDRESS_REFUSED
    assert server.asked["/a.jpg"] == 1
    assert server.headers[0]["Host"] == f"rebinding.example:{server.server_port}"


def test_settings_of_proxies_are_not_followed(server, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    server.answers |= {"/a.jpg": PICTURE}
    assert fetch(server.url("/a.jpg")) == PICTURE


def test_what_is_packed_is_not_unpacked(server):
    bomb = gzip.compress(bytes(10_000_000))
    server.answers |= {"/a.jpg": whole(body=bomb, Content_Encoding="gzip")}
    assert fetch(server.url("/a.jpg"), max_bytes=20_000) == bomb
    assert server.headers[0]["Accept-Encoding"] == "identity"


def test_more_than_the_length_that_was_said_is_no_part_of_the_next_picture(server):
    """Over one connection: what is left of the first is not taken for the second. The first is
    whole for us where the rest comes late; its decoder will say that it is not."""
    server.answers |= {
        "/a.jpg": raw(OK + b"Content-Length: 9\r\n\r\n" + PICTURE[:9], PICTURE[9:], pause=0.02),
        "/b.jpg": PICTURE,
    }

    async def one_after_the_other():
        config = HttpConfig(allowed_networks=(LOOPBACK,), backoff=0.01)
        async with fetcher_of(config) as fetcher:
            for _ in range(3):
                yield (await fetcher.fetch(server.url("/a.jpg"), 2000)).data
                yield (await fetcher.fetch(server.url("/b.jpg"), 2000)).data

    async def all_of_them():
        return [data async for data in one_after_the_other()]

    assert asyncio.run(all_of_them()) == [PICTURE[:9], PICTURE] * 3


def test_connections_are_kept(server):
    server.answers |= {f"/{i}.jpg": PICTURE for i in range(20)}
    urls = [server.url(path) for path in server.answers]
    assert fetch_all(urls, connections_per_host=2) == [PICTURE] * 20
    assert server.connections == 2


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("/é ü.jpg", "/%C3%A9%20%C3%BC.jpg"),
        (unicodedata.normalize("NFD", "/é.jpg"), "/e%CC%81.jpg"),
        ("/a%20b%2Fc.jpg", "/a%20b%2Fc.jpg"),
        ("/a+b&c;d.jpg", "/a+b&c;d.jpg"),
        ("/100%.jpg", "/100%.jpg"),
        ("/a/../b.jpg", "/a/../b.jpg"),
        ("?a", "/?a"),
        ("/a.jpg#b", "/a.jpg"),
        ("/a.jpg?url=http%3A%2F%2Fb%2Fc&x=ü y", "/a.jpg?url=http%3A%2F%2Fb%2Fc&x=%C3%BC%20y"),
    ],
)
def test_odd_urls(server, path, asked):
    fetch(server.url(path), deadline=4)
    assert list(server.asked) == [asked]


@pytest.mark.parametrize("url", ["http://a:99999/", "http://a:x/", "http://[::1", "http://[x]/"])
def test_urls_that_are_none(url):
    assert rejection(url).reason is RejectReason.BAD_URL
