"""One picture from a server that does what servers do."""

import asyncio
import gzip
import socket
import ssl
import threading
import time
import unicodedata
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from manylabel.preprocessing.http_config import HttpConfig
from manylabel.preprocessing.pictures.http_fetch import Fetcher
from manylabel.preprocessing.rejections import RETRYABLE, ImageRejectedError, RejectReason

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


def test_a_failure_may_pass(server):
    answers = iter([whole(503), raw(b""), raw(OK + b"Content-Length: 9\r\n\r\n"), whole()])
    server.answers |= {"/a.jpg": lambda handler: next(answers)(handler)}
    assert fetch(server.url("/a.jpg"), attempts=4, connections=1) == PICTURE


@pytest.mark.parametrize(
    ("answer", "asked"), [(whole(500), 3), (whole(404), 1), (whole(403), 1), (never, 1)]
)
def test_attempts_are_bounded(server, answer, asked):
    server.answers |= {"/a.jpg": answer}
    rejection(server.url("/a.jpg"), attempts=3)
    assert server.asked["/a.jpg"] == asked


@pytest.mark.parametrize(
    ("wait", "asked", "told"),
    [
        ("0", 3, "after 0 seconds"),
        ("3600", 1, "after 3600 seconds"),
        ("9" * 400, 1, "after"),
        (f"Mon, 01 Jan {'9' * 22} 00:00:00 GMT", 3, "Too Many Requests"),
        ("-1", 3, "Too Many Requests"),
        ("soon", 3, "Too Many Requests"),
        (format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True), 1, "after"),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 3, "after 0 seconds"),
        ("Thu, 01 Jan 1970 00:00:00", 3, "after 0 seconds"),
    ],
)
def test_a_server_says_when_to_ask_again(server, wait, asked, told):
    server.answers |= {"/a.jpg": whole(429, Retry_After=wait)}
    outcome = rejection(server.url("/a.jpg"), attempts=3)
    assert told in outcome.detail
    assert server.asked["/a.jpg"] == asked


def test_all_wait_for_a_server_that_asks_for_it(server):
    began = time.monotonic()
    times = []

    def answer(handler):
        times.append(time.monotonic() - began)
        handler.send(429 if len(times) == 1 else 200, PICTURE, Retry_After=1)

    server.answers |= {"/a.jpg": answer, "/b.jpg": answer}
    urls = [server.url("/a.jpg"), server.url("/b.jpg")]
    settings = {"attempts": 2, "connections_per_host": 1, "longest_wait": 1}
    assert fetch_all(urls, **settings) == [PICTURE, PICTURE]
    assert times[1] - times[0] > 0.9


def test_a_server_that_asks_for_an_hour_is_asked_no_more(server):
    server.answers |= {f"/{i}.jpg": whole(503, Retry_After=3600) for i in range(20)}
    urls = [server.url(path) for path in server.answers]
    outcomes = fetch_all(urls, attempts=3, connections_per_host=2)
    assert {outcome.reason for outcome in outcomes} == {RejectReason.NOT_SERVED_NOW}
    assert server.asked.total() <= 2
    assert "was not asked, since it answered before: 503" in outcomes[-1].detail


def test_a_server_that_is_down_is_asked_no_more(server):
    """Ten times, by those under way then, once more by one picture; not for each of a hundred."""
    server.answers |= {f"/{i}.jpg": never for i in range(100)}
    urls = [server.url(path) for path in server.answers]
    outcomes = fetch_all(urls, deadline=0.1, connections_per_host=8)
    told = [o.detail for o in outcomes if o.reason is RejectReason.UNREACHABLE]
    assert len(outcomes) - len(told) == server.asked.total() <= 10 + 7 + 1
    assert all("failed 1" in detail for detail in told)
    assert "times in a row, so it was not asked; the last time: 127.0.0.1" in told[0]


@pytest.mark.parametrize(("attempts", "backoff", "longest_wait"), [(3, 0.3, 0.3), (1, 0, 0.6)])
def test_a_server_that_cuts_connections_for_a_moment_loses_no_picture(
    server, attempts, backoff, longest_wait
):
    """By their own attempts, or else by waiting for it once."""
    down_until = time.monotonic() + 0.4

    def answer(handler):
        (raw(b"") if time.monotonic() < down_until else whole())(handler)

    server.answers |= {f"/{i}.jpg": answer for i in range(100)}
    urls = [server.url(path) for path in server.answers]
    settings = {"attempts": attempts, "backoff": backoff, "longest_wait": longest_wait}
    outcomes = fetch_all(urls, deadline=4, connections_per_host=8, **settings)
    lost = sum(outcome != PICTURE for outcome in outcomes)
    # Without further attempts: those that made it known that the server was down.
    assert lost == 0 if attempts > 1 else 10 <= lost < 18


def test_attempts_of_one_picture_are_one_failure_of_the_server(server):
    """Five pictures, fifteen attempts; a server that were down would be waited for."""
    server.answers |= {f"/{i}.jpg": raw(b"") for i in range(5)}
    urls = [server.url(path) for path in server.answers]
    server.answers["/good.jpg"] = PICTURE
    outcomes = fetch_all(
        [*urls, server.url("/good.jpg")], at_a_time=1, attempts=3, longest_wait=6, deadline=2
    )
    assert outcomes[-1] == PICTURE


def test_a_server_that_is_always_busy_is_down(server):
    server.answers |= {f"/{i}.jpg": whole(503, Retry_After=0) for i in range(100)}
    urls = [server.url(path) for path in server.answers]
    outcomes = fetch_all(urls, at_a_time=4, attempts=2)
    assert {outcome.reason for outcome in outcomes} == {RejectReason.NOT_SERVED_NOW}
    # Ten pictures, those under way then, and the one that tries it.
    assert 20 < server.asked.total() <= 2 * (10 + 3 + 1)
    assert "so it was not asked; the last time: 503" in outcomes[-1].detail


def test_what_a_redirect_leads_to_fails_for_itself(server):
    """Twenty pictures that are elsewhere, where nothing answers, and one that is here."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        elsewhere = f"http://127.0.0.1:{closed.getsockname()[1]}/"
        server.answers |= {f"/{i}.jpg": location(elsewhere) for i in range(20)}
        urls = [server.url(path) for path in server.answers]
        server.answers["/here.jpg"] = PICTURE
        *away, here = fetch_all([*urls, server.url("/here.jpg")], connections_per_host=1)
    assert {outcome.reason for outcome in away} == {RejectReason.UNREACHABLE}
    assert here == PICTURE
    assert away[-1].detail.startswith(elsewhere.split("/")[2])


def test_what_a_redirect_leads_to_asks_to_wait_for_itself(server):
    elsewhere = server.url("/busy.jpg", "localhost")
    server.answers |= {
        "/away.jpg": location(elsewhere),
        "/busy.jpg": whole(503, Retry_After=3600),
        "/here.jpg": PICTURE,
    }
    urls = [server.url(path) for path in ("/away.jpg", "/here.jpg", "/away.jpg")]
    networks = (LOOPBACK, "::1/128")
    first, here, last = fetch_all(urls, at_a_time=1, allowed_networks=networks)
    assert here == PICTURE
    assert first.detail.startswith("503")
    assert last.detail.startswith("localhost:")
    assert server.asked["/busy.jpg"] == 1


def test_what_redirects_lead_to_has_turns(server, monkeypatch):
    """One picture at a time is asked for, whatever the server was that redirected."""
    now, most = [], []

    def answer(handler):
        now.append(handler)
        most.append(len(now))
        time.sleep(0.02)
        now.remove(handler)
        handler.send(200, PICTURE)

    real = socket.getaddrinfo
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda _, *rest, **more: real("127.0.0.1", *rest, **more)
    )
    server.answers |= {"/a": location(server.url("/b", "pictures.example")), "/b": answer}
    urls = [server.url("/a", f"{i}.example") for i in range(5)]
    assert fetch_all(urls, connections_per_host=1) == [PICTURE] * 5
    assert max(most) == 1


def test_names_that_are_resolved_slowly_do_not_hold_up_others(server, monkeypatch):
    real, done = socket.getaddrinfo, threading.Event()

    def resolve(host, *args, **kwargs):
        if host.endswith(".slow.example"):
            done.wait(0.8)
        return real("127.0.0.1", *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    server.answers |= {"/a.jpg": PICTURE}
    slow = [server.url("/a.jpg", f"{i}.slow.example") for i in range(40)]
    outcomes = fetch_all([*slow, server.url("/a.jpg", "good.example")], connections=41)
    done.set()
    assert outcomes[-1] == PICTURE


def test_what_is_signed_is_not_told(server):
    server.answers |= {"/a.jpg": raw(b"220 ftp.example.org ready\r\n")}
    outcome = rejection(server.url("/a.jpg?signature=secret"))
    assert outcome.reason is RejectReason.BAD_RESPONSE
    assert "secret" not in outcome.detail


def test_a_server_that_has_nothing_is_not_down(server):
    urls = [server.url(f"/{i}.jpg") for i in range(60)]
    reasons = {outcome.reason for outcome in fetch_all(urls)}
    assert reasons == {RejectReason.MISSING_FILE}
    assert server.asked.total() == 60


# With TLS.


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """Of localhost, signed by itself, with its key."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = tmp_path_factory.mktemp("certificate") / "localhost.pem"
    path.write_bytes(private + made.public_bytes(pem))
    return path


@pytest.fixture
def secure(server, certificate):
    """The server speaks TLS; the address of a path there."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    names = []
    context.sni_callback = lambda _socket, name, _context: names.append(name)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.names = names
    return lambda path, host="localhost": server.url(path, host).replace("http:", "https:")


def test_a_certificate_that_is_not_trusted(server, secure):
    server.answers |= {"/a.jpg": PICTURE}
    outcome = rejection(secure("/a.jpg"), deadline=5, connect_timeout=5)
    assert outcome.reason is RejectReason.UNREACHABLE
    assert "its certificate is not trusted" in outcome.detail
    assert server.asked.total() == 0


def test_a_certificate_that_is_trusted(server, secure, certificate, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    server.answers |= {"/a.jpg": PICTURE}
    patient = {"deadline": 5, "connect_timeout": 5}
    assert fetch(secure("/a.jpg"), **patient) == PICTURE
    assert server.names == ["localhost"]
    another = rejection(secure("/a.jpg", "127.0.0.1"), **patient)
    assert "its certificate is not trusted" in another.detail


def test_a_redirect_out_of_tls(server, secure, certificate, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    server.answers |= {"/a.jpg": location("http://localhost:1/a.jpg?key=secret")}
    outcome = rejection(secure("/a.jpg"), deadline=5, connect_timeout=5)
    assert outcome.reason is RejectReason.BAD_RESPONSE
    assert outcome.detail.startswith("a redirect from https to http://localhost:1/a.jpg,")


def test_a_server_that_speaks_no_tls(server):
    url = server.url("/a.jpg").replace("http:", "https:")
    assert rejection(url).reason is RejectReason.UNREACHABLE


def test_tls_that_is_never_agreed_upon():
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        outcome = rejection(
            f"https://127.0.0.1:{silent.getsockname()[1]}/a.jpg", connect_timeout=0.2
        )
    assert outcome.detail.endswith("no connection within 0.2 seconds")
