"""Standard streams that outlive their display: one that ends never ends the work."""

import codecs
import io
import os
import select
import sys
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


_ENCODABLE = "manylabel.encodable"


def outlive_displays() -> None:
    r"""Replaces standard output and error by streams that can always be written to.

    What cannot be shown is dropped: nobody reads the pipe any more (`| head -1`), the disk behind a
    redirect is full, the terminal was closed. A character that the encoding lacks becomes an
    escape (`\u2013`); a file's name that is no text keeps its bytes.
    """
    # What was closed for us (`>&-`) is opened, before a file of the work gets its descriptor and
    # with it whatever processes print.
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    codecs.register_error(_ENCODABLE, _bytes_or_escape)
    sys.stdout, sys.stderr = _lasting(sys.stdout, 1), _lasting(sys.stderr, 2)


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

    def write(self, data: "ReadableBuffer") -> int:
        try:
            # None: another program made the terminal or pipe non-blocking, and it is full.
            while (written := super().write(data)) is None:
                select.select([], [self], [])
        except OSError:
            return memoryview(data).nbytes
        return written
