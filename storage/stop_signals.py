"""Being told to stop: by Ctrl-C, a terminal that closes, a batch scheduler, whoever ends a job."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

STOP_SIGNALS = (
    signal.SIGINT,  # Ctrl-C
    signal.SIGTERM,  # preemption
    signal.SIGHUP,  # the terminal, or the connection to it, is gone
    signal.SIGUSR1,  # what batch schedulers are told to send some time before the end
)
# Who ends a job may tell several processes of it, each of which tells the next.
_ONE_REQUEST_SECONDS = 1.0


@contextmanager
def on_stop_signal(stop: Callable[[], None]) -> Iterator[None]:
    """Calls `stop`, which may raise, at the first of these signals.

    Those that follow within a second are the same request. A later one does what it did before
    the block: ends the process at once. SIGHUP stays ignored where it is, as under nohup. Only
    the main thread can handle signals; in others this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    if before[signal.SIGHUP] is signal.SIG_IGN:
        del before[signal.SIGHUP]
    told: list[float] = []

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def on_signal(number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if not told:
            told.append(now)
            stop()
        elif now - told[0] > _ONE_REQUEST_SECONDS:
            restore()
            signal.raise_signal(number)

    for number in before:
        signal.signal(number, on_signal)
    try:
        yield
    finally:
        if told:  # else the rest of the same request would meet the handlers of before
            time.sleep(max(0.0, told[0] + _ONE_REQUEST_SECONDS - time.monotonic()))
        restore()
