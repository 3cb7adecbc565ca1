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
