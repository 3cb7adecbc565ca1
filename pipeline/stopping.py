"""Being told to stop, as an exception."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from manylabel.pipeline.errors import Interrupted
from manylabel.storage.stop_signals import on_stop_signal

BEGINS_AGAIN = "stopped; the same command begins again"

_told = threading.Event()


@contextmanager
def told_to_stop() -> Iterator[None]:
    """Makes every signal to stop what SIGINT is, KeyboardInterrupt; a later second one ends the
    process."""
    _told.clear()
    with on_stop_signal(_interrupt):
        try:
            yield
        except Interrupted:
            raise
        except Exception as error:
            raise_if_told(error)
            raise


def raise_if_told(error: Exception) -> None:
    """For who catches what goes wrong within `told_to_stop`, and goes on.

    Raises:
        KeyboardInterrupt: the process was told to stop. An extension module that was being imported
            then makes an ImportError of that.
    """
    if _told.is_set():
        raise KeyboardInterrupt from error


@contextmanager
def told_to_stop_with(line: str | Callable[[], str] = BEGINS_AGAIN) -> Iterator[None]:
    """For a command that has nothing to do then but to say `line`, and to remove what is half done.

    Args:
        line: also as a call, made when that is removed.

    Raises:
        Interrupted: it was told to stop.
    """
    try:
        with told_to_stop():
            yield
    except KeyboardInterrupt as stop:
        raise Interrupted(line if isinstance(line, str) else line()) from stop


def _interrupt() -> None:
    _told.set()
    raise KeyboardInterrupt
