"""Being told to stop, by Ctrl-C or by whoever ends a job."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def told_to_stop() -> Iterator[None]:
    """Makes SIGTERM what SIGINT is, KeyboardInterrupt; the second signal ends the process."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def on_signal(number: int, frame: FrameType | None) -> None:
        restore()
        raise KeyboardInterrupt

    for number in before:
        signal.signal(number, on_signal)
    try:
        yield
    finally:
        restore()
