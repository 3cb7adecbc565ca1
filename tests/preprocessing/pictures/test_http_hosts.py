"""Many pictures, further attempts, and servers that fail again and again."""

import socket
import threading
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from manylabel.preprocessing.rejections import RejectReason
from tests.preprocessing.pictures._answers import (
    LOOPBACK,
    OK,
    PICTURE,
    fetch,
    fetch_all,
    location,
    never,
    raw,
    rejection,
    whole,
)

pytestmark = pytest.mark.slow


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
