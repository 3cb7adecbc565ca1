"""Bytes of an open file by their place."""

import io
import os
from typing import BinaryIO

from manylabel.preprocessing.tars.walk import Read


def reader_of(file: BinaryIO) -> tuple[Read, int]:
    """A function that reads at a place, and the size of the file in bytes."""
    size = file.seek(0, os.SEEK_END)
    try:
        number = file.fileno()
    except (AttributeError, io.UnsupportedOperation):

        def seek_and_read(offset: int, length: int) -> bytes:
            file.seek(offset)
            return bytes(file.read(length))

        return seek_and_read, size

    def read(offset: int, length: int) -> bytes:
        return os.pread(number, length, offset)

    return read, size
