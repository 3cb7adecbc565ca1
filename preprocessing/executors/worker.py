"""A worker process of `processes`: what it is told, what it answers, and how it ends.

It imports neither Beam nor TensorFlow nor Ray, so it starts in a moment.
"""

import fcntl
import os
import pickle
import queue
import select
import signal
import threading
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, NoReturn

from manylabel.preprocessing.executors.outcomes import attempt_each, portable
from manylabel.storage.stacks import show_stacks_on_signal


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


def main(connection: int, lifeline: int) -> NoReturn:
    """Works until the parent hangs up.

    Args:
        connection: file descriptor of a socket to the parent.
        lifeline: reading end of a pipe whose other end the parent has; nothing is ever written.
    """
    show_stacks_on_signal()
    _end_with(lifeline)
    parent = Connection(connection)
    inbox: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    # Messages are taken off the socket while an item is worked on: were both sides to send what
    # the socket cannot hold, they would wait for each other for ever.
    threading.Thread(target=_receive, args=(parent, inbox), daemon=True).start()
    try:
        _work(parent, inbox)
    except (BrokenPipeError, ConnectionResetError):
        os._exit(0)


def _end_with(lifeline: int) -> None:
    """Has the kernel end this process when the parent ends, whatever either is doing.

    A thread that waits for it would not come to its turn while a library holds the interpreter,
    and PR_SET_PDEATHSIG goes by the thread that started us, which may end before the parent.
    """
    signal.signal(signal.SIGIO, signal.SIG_DFL)  # which is to end
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)
    if select.select([lifeline], [], [], 0)[0]:  # it ended before
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
                error = portable(cause)
            parent.send(Loaded(message.number, error))
            continue
        for outcome in attempt_each(function, message.items):
            parent.send_bytes(outcome)
