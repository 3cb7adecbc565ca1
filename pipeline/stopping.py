"""Being told to stop, as an exception."""

from collections.abc import Iterator
from contextlib import contextmanager

from manylabel.storage.stop_signals import on_stop_signal


@contextmanager
def told_to_stop() -> Iterator[None]:
    """Makes every signal to stop what SIGINT is, KeyboardInterrupt; a later second one ends the
    process."""
    with on_stop_signal(_interrupt):
        yield


def _interrupt() -> None:
    raise KeyboardInterrupt
