"""A picture that ends whichever process opens it."""

import fcntl
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from tests.integration._processes import descendants, is_running, waits_for_lease

POLL = 0.005  # seconds


class DeadlyPicture:
    """Kills whoever opens a picture, and nobody else, as the kernel kills for want of memory.

    The product has no setting for that, and no picture of ours crashes its decoder. So the picture
    is under a lease (fcntl(2)): the kernel holds whoever opens it, until we let go or 45 seconds
    after the first came (/proc/sys/fs/lease-break-time), and /proc says who waits for that.

    Attributes:
        deaths: So far.
    """

    def __init__(self, path: Path) -> None:
        self.deaths = 0
        self._path = path
        self._over = threading.Event()

    @contextmanager
    def lying_in_wait(self) -> Iterator[Self]:
        """In the main thread.

        Raises:
            OSError: the file system grants no leases.
        """
        descriptor = os.open(self._path, os.O_RDONLY)
        before = signal.signal(signal.SIGIO, lambda *_: None)  # else it would end this process
        watcher = threading.Thread(target=self._watch, args=[descriptor])
        try:
            fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_WRLCK)
            watcher.start()
            yield self
        finally:
            self._over.set()
            if watcher.is_alive():
                watcher.join()
            os.close(descriptor)
            signal.signal(signal.SIGIO, before)

    def _watch(self, descriptor: int) -> None:
        while not self._over.wait(POLL):
            if fcntl.fcntl(descriptor, fcntl.F_GETLEASE) == fcntl.F_WRLCK:
                continue  # Nobody has come yet; from then on all are held.
            for each in filter(waits_for_lease, descendants(os.getpid())):
                os.kill(each, signal.SIGKILL)
                self.deaths += 1
                while is_running(each):
                    time.sleep(POLL)
