"""What Pillow warns of, image by image."""

import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from PIL import Image

_MOST = 3
_SHOWN = 200
"""Characters of a warning; some repeat what a file says."""


class _Listener:
    """Hears the warnings of all threads while any of them asks, and gives each its own.

    `warnings.catch_warnings` is of the whole process: of two threads that each open and close one,
    one takes back what the other has set.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asking = 0
        self._open = ExitStack()
        self._own = threading.local()
        self._show: Any = None

    @contextmanager
    def of_this_thread(self) -> Iterator[list[str]]:
        """A list of what Pillow warns of, in this thread, during the block.

        Each text once, the first three of them; none reaches the terminal.
        """
        remarks: list[str] = []
        before = getattr(self._own, "remarks", None)
        with self._lock:
            if not self._asking:
                self._begin()
            self._asking += 1
        self._own.remarks = remarks
        try:
            yield remarks
        finally:
            self._own.remarks = before
            with self._lock:
                self._asking -= 1
                if not self._asking:
                    self._open.close()

    def _begin(self) -> None:
        self._open.enter_context(warnings.catch_warnings())
        self._show = warnings.showwarning
        warnings.showwarning = self._hear
        warnings.filterwarnings("always", module=r"PIL\.")
        # Between its two limits of pixels; ours decides.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)

    def _hear(self, message: Any, *place: Any, **options: Any) -> None:
        remarks = getattr(self._own, "remarks", None)
        if remarks is None:  # Of a thread that works on something else.
            self._show(message, *place, **options)
            return
        text = " ".join(str(message).split())[:_SHOWN]
        if text not in remarks and len(remarks) < _MOST:
            remarks.append(text)


remarks_of_pillow = _Listener().of_this_thread
