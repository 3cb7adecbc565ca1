"""Asks whether they are there those parts of a training job that its monitor asks nothing else."""

import time
from collections.abc import Mapping
from typing import Any

import ray
from ray.actor import ActorHandle
from ray.exceptions import RayError

from manylabel.trainer.program.silences import Silences

_SECONDS_BETWEEN = 5.0
_AT_ONCE_SECONDS = 2.0  # of which an update, or a part of a checkpoint, may take some


class Pings:
    """One question at a time to each, which it answers between two calls of others.

    Args:
        actors: by the parts' names.
    """

    def __init__(self, actors: Mapping[str, ActorHandle], silences: Silences) -> None:
        self._actors, self._silences = actors, silences
        self._open: dict[Any, str] = {}
        self._asked = dict.fromkeys(actors, -_SECONDS_BETWEEN)

    def look(self) -> str | None:
        """Takes in answers, asks again where it is time; who has been silent for longest."""
        for ping in _ready(list(self._open), timeout=0):
            name = self._open.pop(ping)
            if _is_answer(ping):
                self._silences.answer(name)
            else:  # that a part is lost is told by who needed it
                self._silences.forget(name)
        now, waited_for = time.monotonic(), set(self._open.values())
        for name, actor in self._actors.items():
            if name not in waited_for and now - self._asked[name] >= _SECONDS_BETWEEN:
                self._asked[name] = now
                self._silences.ask(name)
                self._open[actor.where.remote()] = name
        return max(waited_for, key=self._silences.seconds, default=None)

    def answer_at_once(self) -> bool:
        """Whether each answers within a moment; if not, it is no fault of those who wait for it as
        well that they say nothing."""
        asked = [actor.where.remote() for actor in self._actors.values()]
        # With lost ones among them, of which those learn who wait for them.
        return len(_ready(asked, timeout=_AT_ONCE_SECONDS)) == len(asked)


def _ready(asked: list[Any], timeout: float) -> list[Any]:
    if not asked:
        return []
    ready, _ = ray.wait(asked, num_returns=len(asked), timeout=timeout)
    return ready


def _is_answer(ready: Any) -> bool:
    """Ray calls ready as well what will never be answered."""
    try:
        ray.get(ready)
    except RayError:
        return False
    return True
