"""Standard streams that outlive their display: one that ends never ends the work."""

import codecs
import errno
import io
import os
import select
import sys
from typing import TYPE_CHECKING, TextIO

from manylabel.pipeline.errors import CommandError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


_ENCODABLE = "manylabel.encodable"
_DISPLAY_ENDED = (errno.EPIPE, errno.EIO)  # Nobody reads the pipe; the terminal is gone.


def outlive_displays() -> None:
    r"""Replaces standard output and error by streams that can always be written to.

    What cannot be shown is dropped: nobody reads the pipe any more (`| head -1`), the disk behind a
    redirect is full, the terminal was closed. A character that the encoding lacks becomes an
    escape (`\u2013`); a file's name that is no text keeps its bytes.
    """
    open_closed_streams()
    codecs.register_error(_ENCODABLE, _bytes_or_escape)
    sys.stdout, sys.stderr = _lasting(sys.stdout, 1), _lasting(sys.stderr, 2)


def open_closed_streams() -> list[int]:
    """Opens what was closed for us (`>&-`), before a file of the work gets its descriptor and with
    it whatever processes print; the descriptors of 0 to 2 that are open now and were not."""
    opened = []
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
        opened.append(descriptor)
    os.close(descriptor)
    return opened


def check_written() -> None:
    """For commands whose result is what they print.

    Raises:
        CommandError: standard output could not take all of it, as on a full disk.
    """
    sys.stdout.flush()
    file = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    if isinstance(file, _LastingFile) and file.lost is not None:
        raise CommandError(f"standard output: {file.lost.strerror}; what is there is cut short")


def _lasting(stream: TextIO | None, descriptor: int) -> TextIO:
    return io.TextIOWrapper(
        io.BufferedWriter(_LastingFile(descriptor, "w", closefd=False)),
        encoding="utf-8" if stream is None else stream.encoding,
        errors=_ENCODABLE,
        line_buffering=True,
    )


def _bytes_or_escape(error: UnicodeError) -> tuple[str | bytes, int]:
    try:
        return codecs.lookup_error("surrogateescape")(error)
    except UnicodeError:
        return codecs.lookup_error("backslashreplace")(error)


class _LastingFile(io.FileIO):
    """Below all buffers, so that none holds what it would fail to write again at exit."""

    lost: OSError | None = None
    """Why something of a result could not be written; a display that ends is no such reason."""

    def write(self, data: "ReadableBuffer") -> int:
        try:
            # None: another program made the terminal or pipe non-blocking, and it is full.
            while (written := super().write(data)) is None:
                select.select([], [self], [])
        except OSError as error:
            if error.errno not in _DISPLAY_ENDED:
                self.lost = error
            return memoryview(data).nbytes
        return written
