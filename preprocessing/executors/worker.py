"""A worker process of `processes`: what it is told, what it answers, and how it ends.

It imports neither Beam nor TensorFlow nor Ray, so it starts in a moment.
"""

import os
import pickle
import queue
import threading
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, NoReturn

from manylabel.preprocessing.errors import PreprocessingError
from manylabel.preprocessing.executors.outcomes import attempt_each
from manylabel.storage.own_process import portable


@dataclass(frozen=True)
class Load:
    """The function of the items to come, pickled; `number` is that of the map."""

    number: int
    pickled: bytes


@dataclass(frozen=True)
class Work:
    """Items; each is answered by a Done or Raised, in order."""

    items: list[Any]


@dataclass(frozen=True)
class Started:
    """The worker listens."""


@dataclass(frozen=True)
class Loaded:
    """The function is there, or what hindered it."""

    number: int
    error: Exception | None


def main(parent: Connection) -> NoReturn:
    """Works until the parent hangs up."""
    inbox: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    # Messages are taken off the socket while an item is worked on: were both sides to send what
    # the socket cannot hold, they would wait for each other for ever.
    threading.Thread(target=_receive, args=(parent, inbox), daemon=True).start()
    try:
        _work(parent, inbox)
    except (BrokenPipeError, ConnectionResetError):
        os._exit(0)


def _receive(parent: Connection, inbox: queue.SimpleQueue[bytes]) -> NoReturn:
    try:
        while True:
            inbox.put(parent.recv_bytes())
    except (EOFError, OSError):
        os._exit(0)


def _work(parent: Connection, inbox: queue.SimpleQueue[bytes]) -> NoReturn:
    function: Any = None
    parent.send(Started())
    while True:
        message: Load | Work = pickle.loads(inbox.get())
        if isinstance(message, Load):
            error = None
            try:
                function = pickle.loads(message.pickled)
            except Exception as cause:
                error = portable(cause, PreprocessingError)
            parent.send(Loaded(message.number, error))
            continue
        for outcome in attempt_each(function, message.items):
            parent.send_bytes(outcome)
