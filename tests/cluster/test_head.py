"""How long the head of a cluster may be silent."""

import socket

import pytest

from manylabel.cluster.head import Head
from manylabel.storage.watched_time import WatchedTime


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


class Gone(Exception):
    """What the test's own heads are lost as."""


def test_a_head_that_is_away_for_a_moment_is_waited_for_and_one_that_is_gone_is_told():
    clock, there, looks = Clock(), [True], []

    def connect(address):
        looks.append(clock.now)
        if not there[0]:
            raise ConnectionRefusedError(111, "Connection refused")

    head = Head("10.0.0.1:6379", Gone, connect=connect, clock=clock)
    for clock.now in range(30):
        assert head.answers()
    assert len(looks) < 16, "it is looked for every few seconds, not at each call"
    there[0] = False
    for clock.now in range(30, 45):
        head.answers()
    assert not head.answers(), "nothing is to be asked of it meanwhile"
    there[0] = True
    for clock.now in range(45, 60):
        head.answers()
    assert head.answers(), "it is back"
    there[0] = False
    for clock.now in range(60, 75):
        head.answers()
    clock.now = 85  # Ray, which waits 60 s, would end this process at 120.
    told = r"10.0.0.1:6379, has not answered for 2\d s \(Connection refused\)$"
    with pytest.raises(Gone, match=told):
        head.answers()


def test_time_in_which_this_process_was_stopped_is_no_silence_of_the_head(monkeypatch):
    """After an hour of sleep the network is up a moment later than the process."""
    clock, there = Clock(), [True]
    monkeypatch.setattr(WatchedTime.__init__, "__defaults__", (clock,))

    def connect(address):
        if not there[0]:
            raise OSError(101, "Network is unreachable")

    head = Head("10.0.0.1:6379", Gone, connect=connect)
    for clock.now in range(30):
        assert head.answers()
    there[0] = False
    clock.now += 3600
    assert not head.answers()
    there[0] = True
    clock.now += 3
    assert head.answers()
    there[0] = False
    for clock.now in range(3633, 3650):
        head.answers()
    clock.now = 3659
    with pytest.raises(Gone, match="has not answered for 2"):
        head.answers()


def test_a_listening_socket_answers_and_a_closed_one_does_not():
    clock = Clock()
    with socket.create_server(("127.0.0.1", 0)) as server:
        head = Head(f"127.0.0.1:{server.getsockname()[1]}", Gone, clock=clock)
        for clock.now in range(0, 60, 6):
            assert head.answers()
    clock.now = 90
    with pytest.raises(Gone):
        head.answers()
