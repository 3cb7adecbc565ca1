"""Whether the head of the Ray cluster still answers.

Ray itself waits a minute for a head that is gone and then ends the process that waited, without a
word: this notices sooner, so that the job can say what happened.
"""

import socket
from collections.abc import Callable

from manylabel.storage.watched_time import WatchedTime

PATIENCE_SECONDS = 20.0
"""Of silence: a head that is started anew is there again by then, and Ray has not ended us yet. One
that is only busy accepts connections all the same."""
_SECONDS_BETWEEN_LOOKS = 2.0
_SECONDS_TO_CONNECT = 2.0
_LONGEST_GAP_SECONDS = 10.0
"""Between two looks."""


def _connect(address: str) -> None:
    host, _, port = address.rpartition(":")
    socket.create_connection((host.strip("[]"), int(port)), _SECONDS_TO_CONNECT).close()


class Head:
    """The head of a cluster that this process is in.

    Args:
        address: of Ray's global control service, HOST:PORT.
        lost: makes the error to raise, of what is to be told.
        connect: raises OSError where the address does not answer.
    """

    def __init__(
        self,
        address: str,
        lost: Callable[[str], Exception],
        *,
        connect: Callable[[str], None] = _connect,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self._address, self._lost = address, lost
        self._connect = connect
        # Who was stopped has not looked meanwhile, and the first try after that may fail.
        self._clock = clock or WatchedTime(_LONGEST_GAP_SECONDS)
        self._looked = self._heard = self._clock()
        self._silent = False

    def answers(self) -> bool:
        """Whether it answered when it was last looked for, a few seconds ago at most.

        Raises:
            Exception: as `lost` makes it; it has been silent for PATIENCE_SECONDS.
        """
        if self._clock() - self._looked >= _SECONDS_BETWEEN_LOOKS:
            try:
                self._connect(self._address)
                self._heard, self._silent = self._clock(), False
            except OSError as error:
                self._silent = True
                silence = self._clock() - self._heard
                if silence > PATIENCE_SECONDS:
                    raise self._lost(
                        f"the head of the Ray cluster, {self._address}, has not answered for "
                        f"{silence:.0f} s ({error.strerror or error})"
                    ) from error
            self._looked = self._clock()
        return not self._silent
