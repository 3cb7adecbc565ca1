"""Shards that are asked whether they are there, without Ray."""

from types import SimpleNamespace

import pytest
from ray.exceptions import RayActorError

from manylabel.trainer.program import pings as module
from manylabel.trainer.program.pings import Pings
from manylabel.trainer.program.silences import Silences


class Ray:
    """Actors that answer at once, or not at all, and lost ones."""

    def __init__(self):
        self.now = 0.0
        self.asked = []
        self.silent = set()
        self.lost = set()

    def monotonic(self):
        return self.now

    def actor(self, name):
        return SimpleNamespace(where=SimpleNamespace(remote=lambda: self._ask(name)))

    def _ask(self, name):
        self.asked.append((self.now, name))
        return self.now, name

    def wait(self, questions, num_returns, timeout):
        assert num_returns == len(questions) > 0
        assert timeout in (0, module._AT_ONCE_SECONDS), "it waits for none"
        said = [question for question in questions if question[1] not in self.silent]
        return said, [question for question in questions if question not in said]

    def get(self, question):
        if question[1] in self.lost:
            raise RayActorError
        return "a node", 7


@pytest.fixture
def ray(monkeypatch):
    ray = Ray()
    monkeypatch.setattr(module, "ray", ray)
    monkeypatch.setattr(module, "time", ray)
    return ray


@pytest.fixture
def pings(ray):
    silences = Silences(ray.monotonic)
    return Pings({name: ray.actor(name) for name in ("shard-0", "shard-1")}, silences), silences


def look_for(ray, pings, seconds):
    """Twice a second, as a monitor does."""
    end = ray.now + seconds
    while ray.now < end:
        silent = pings.look()
        ray.now += 0.5
    return silent


def test_each_is_asked_now_and_then(ray, pings):
    assert look_for(ray, pings[0], 10) is None
    assert ray.asked == [(t, name) for t in (0.0, 5.0) for name in ("shard-0", "shard-1")]


def test_one_that_says_nothing_is_known_and_is_not_asked_again(ray, pings):
    pings, silences = pings
    look_for(ray, pings, 1)
    ray.silent = {"shard-1"}
    assert look_for(ray, pings, 45) == "shard-1"
    assert [name for _, name in ray.asked].count("shard-1") == 2
    assert silences.seconds("shard-0") == 0
    assert silences.lines() == ["no answer from shard-1 for 41 s; the last word: nothing yet"]
    ray.silent = set()
    assert look_for(ray, pings, 1) is None
    assert silences.lines() == ["shard-1 answers again, after 41 s"]


def test_one_that_is_lost_does_not_answer_again(ray, pings):
    pings, silences = pings
    ray.silent = {"shard-1"}
    look_for(ray, pings, 45)
    assert silences.lines() == ["no answer from shard-1 for 45 s; the last word: nothing yet"]
    ray.silent, ray.lost = set(), {"shard-1"}
    assert look_for(ray, pings, 45) is None
    assert silences.lines() == []
    assert silences.seconds("shard-1") == 0
    assert pings.answer_at_once(), "whoever says nothing does not wait for it"


def test_whether_all_answer_at_once(ray, pings):
    pings, _ = pings
    assert pings.answer_at_once()
    ray.silent.add("shard-1")
    assert not pings.answer_at_once()
    ray.silent.clear()
    assert pings.answer_at_once()
