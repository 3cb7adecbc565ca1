"""Calls that may never return."""

import signal
import threading
import time

import pytest

from manylabel.cluster import leaving
from manylabel.cluster.leaving import within


@pytest.fixture(autouse=True)
def abandoned():
    yield leaving.abandoned
    leaving.abandoned.clear()


@pytest.fixture
def never():
    """A call that does not return before the test's end."""
    over = threading.Event()
    yield over.wait
    over.set()


def test_what_returns_in_time(abandoned):
    assert within(20, lambda: None)
    assert not abandoned.is_set()


def test_what_it_raises_is_raised(abandoned):
    with pytest.raises(ZeroDivisionError):
        within(20, lambda: 1 / 0)
    assert not abandoned.is_set()


def test_what_does_not_return_is_given_up(never, abandoned):
    assert not within(0.01, never)
    assert abandoned.is_set()


def test_who_is_told_to_stop_waits_no_longer(never, abandoned):
    before = signal.signal(
        signal.SIGALRM, lambda number, frame: signal.default_int_handler(number, frame)
    )
    began = time.monotonic()
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.02)
        with pytest.raises(KeyboardInterrupt):
            within(20, never)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert abandoned.is_set()
    assert time.monotonic() - began < 10


def test_it_is_over_once_the_last_call_that_was_given_up_has_returned(never, abandoned):
    returns = threading.Event()
    assert not within(0.01, never)
    assert not within(0.01, returns.wait)
    returns.set()
    time.sleep(0.1)
    assert abandoned.is_set(), "the other one hangs"


def test_a_call_that_returns_late_leaves_nothing_behind(abandoned):
    returns = threading.Event()
    assert not within(0.01, returns.wait)
    returns.set()
    deadline = time.monotonic() + 10
    while abandoned.is_set():
        assert time.monotonic() < deadline
        time.sleep(0.01)
