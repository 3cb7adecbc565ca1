"""How long the head of a cluster may be silent."""

import socket

import pytest

from manylabel.trainer.errors import LostPartError
from manylabel.trainer.program.head import Head


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_a_head_that_is_away_for_a_moment_is_waited_for_and_one_that_is_gone_is_told():
    clock, answers, looks = Clock(), [True], []

    def look(address):
        looks.append(clock.now)
        return answers[0]

    head = Head("10.0.0.1:6379", look, clock)
    for clock.now in range(30):
        head.check()
    assert len(looks) < 7, "it is looked at every few seconds, not at each call"
    answers[0] = False
    for clock.now in range(30, 45):
        head.check()
    answers[0] = True
    for clock.now in range(45, 60):
        head.check()
    answers[0] = False
    for clock.now in range(60, 75):
        head.check()
    clock.now = 85  # Ray, which waits 60 s, would end this process at 120.
    with pytest.raises(LostPartError, match=r"10.0.0.1:6379, has not answered for [23]\d s; run"):
        head.check()


def test_a_listening_socket_answers_and_a_closed_one_does_not():
    clock = Clock()
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        head = Head(address, clock=clock)
        for clock.now in range(0, 60, 6):
            head.check()
    clock.now = 90
    with pytest.raises(LostPartError):
        head.check()
