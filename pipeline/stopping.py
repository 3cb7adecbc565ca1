"""Being told to stop, as an exception."""

from collections.abc import Iterator
from contextlib import contextmanager

from manylabel.pipeline.errors import Interrupted
from manylabel.storage.stop_signals import on_stop_signal


@contextmanager
def told_to_stop() -> Iterator[None]:
    """Makes every signal to stop what SIGINT is, KeyboardInterrupt; a later second one ends the
    process."""
    with on_stop_signal(_interrupt):
        yield


@contextmanager
def told_to_stop_with(line: str) -> Iterator[None]:
    """For a command that has nothing to do then but to say `line`.

    Raises:
        Interrupted: it was told to stop.
    """
    try:
        with told_to_stop():
            yield
    except KeyboardInterrupt as stop:
        raise Interrupted(line) from stop


def _interrupt() -> None:
    raise KeyboardInterrupt
