"""Whether the head of the Ray cluster still answers.

Ray itself waits a minute for a head that is gone and then ends the process that waited, without a
word: this notices sooner, so that the job can say what happened.
"""

import socket
import time
from collections.abc import Callable

import ray

from manylabel.trainer.errors import LostPartError
from manylabel.trainer.program.losses import AGAIN

_SECONDS_BETWEEN_LOOKS = 5.0
_CONNECT_SECONDS = 2.0
# Of 60 after which Ray gives up; a head that is only busy accepts connections all the same.
_SILENCE_SECONDS = 20.0


def _accepts_connections(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), _CONNECT_SECONDS):
            return True
    except OSError:
        return False


class Head:
    """The head of the cluster that this process has joined."""

    def __init__(
        self,
        address: str | None = None,
        answers: Callable[[str], bool] = _accepts_connections,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._address = address or ray.get_runtime_context().gcs_address
        self._answers = answers
        self._clock = clock
        self._looked = self._heard = clock()

    def check(self) -> None:
        """Looks, if the last look was some seconds ago.

        Raises:
            LostPartError: it has not answered for many looks.
        """
        now = self._clock()
        if now - self._looked < _SECONDS_BETWEEN_LOOKS:
            return
        self._looked = now
        if self._answers(self._address):
            self._heard = now
        elif now - self._heard > _SILENCE_SECONDS:
            raise LostPartError(
                f"the head of the Ray cluster, {self._address}, has not answered for "
                f"{now - self._heard:.0f} s; {AGAIN} once it, or another cluster, is there"
            )
