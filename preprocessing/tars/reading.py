"""Bytes of an open file by their place."""

import errno
import io
import os
from typing import BinaryIO

from manylabel.preprocessing.tars.walk import Read


def reader_of(file: BinaryIO) -> tuple[Read, int]:
    """A function that reads at a place, and the size of the file in bytes.

    Raises:
        OSError: as the function does, whatever kind of error the storage has.
    """
    try:
        number = file.fileno()
    except (AttributeError, io.UnsupportedOperation):
        return _reader_by_seeking(file)
    size = file.seek(0, os.SEEK_END)

    def read(offset: int, length: int) -> bytes:
        return os.pread(number, length, offset)

    return read, size


def _reader_by_seeking(file: BinaryIO) -> tuple[Read, int]:
    def seek_and_read(offset: int, length: int) -> bytes:
        try:
            file.seek(offset)
            return bytes(file.read(length))
        except OSError:
            raise
        except Exception as error:  # Each kind of storage has its own.
            raise OSError(errno.EIO, f"{type(error).__name__}: {error}") from error

    seek_and_read(0, 0)
    return seek_and_read, file.seek(0, os.SEEK_END)
