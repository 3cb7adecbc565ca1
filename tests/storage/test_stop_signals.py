"""What ends a job, and how often it may say so."""

import os
import signal
import subprocess
import sys
import time

import pytest

from manylabel.storage import stop_signals
from manylabel.storage.stop_signals import STOP_SIGNALS, on_stop_signal


@pytest.fixture(autouse=True)
def handled():
    """What came to the handlers of before, which the test's process needs to live on."""
    came = []
    before = {
        number: signal.signal(number, lambda number, frame: came.append(number))
        for number in STOP_SIGNALS
    }
    yield came
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def clock(monkeypatch):
    """Seconds, which pass by being added and in sleep."""
    seconds = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: seconds[0])
    monkeypatch.setattr(time, "sleep", lambda wait: seconds.append(seconds.pop() + wait))
    return seconds


def send(number):
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_each_of_them_stops_once(number, clock, handled):
    told = []
    with on_stop_signal(lambda: told.append(1)):
        send(number)
        for again in STOP_SIGNALS:
            send(again)
        assert told == [1]
        clock[0] = 1.1
        send(number)
        assert told == [1]
    assert handled == [number]


def test_the_same_request_is_not_over_when_the_block_is(clock, handled):
    def stop():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), on_stop_signal(stop):
        send(signal.SIGTERM)
    assert clock[0] == stop_signals._ONE_REQUEST_SECONDS


def test_afterwards_they_mean_what_they_did(handled):
    with on_stop_signal(lambda: None):
        pass
    send(signal.SIGUSR1)
    assert handled == [signal.SIGUSR1]


def test_nohup():
    """Where SIGHUP is ignored, it stays so."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with on_stop_signal(lambda: pytest.fail("stopped")):
        send(signal.SIGHUP)


def test_a_late_second_signal_ends_the_process():
    script = """if True:
        import os, signal, time
        from manylabel.storage import stop_signals
        stop_signals._ONE_REQUEST_SECONDS = 0.01
        with stop_signals.on_stop_signal(lambda: print("stop", flush=True)):
            for _ in range(2):
                os.kill(os.getpid(), signal.SIGUSR1)
                time.sleep(0.1)
            print("still there")
    """
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == -signal.SIGUSR1
    assert done.stdout == "stop\n"
