"""A file for what is under way between two steps of a graph, so that it need not be in memory."""

import os
import struct
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa


class Scratch:
    """Streams one after another in a file without a name, which ends with its process."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._file = tempfile.TemporaryFile(dir=directory, buffering=0)  # noqa: SIM115  closed below
        self._size = 0
        self._lock = threading.Lock()
        self._map: pa.MemoryMappedFile | None = None

    def put(self, stream: pa.Buffer) -> bytes:
        """Appends a stream and returns its place: 16 bytes.

        Raises:
            OSError: there is no room for it, which names the directory.
        """
        data = memoryview(stream)
        with self._lock:
            start = self._size
            try:
                while data:
                    data = data[os.pwrite(self._file.fileno(), data, self._size) :]
                    self._size = start + stream.size - len(data)
            except OSError as error:
                error.filename = self._directory
                error.strerror = f"{error.strerror} (preprocessing.runner.scratch)"
                raise
        return _PLACE.pack(start, stream.size)

    def get(self, place: bytes) -> pa.Buffer:
        """The stream at a place; its pages are the file's, and are read when they are looked at."""
        start, size = _PLACE.unpack(place)
        with self._lock:
            if self._map is None or self._map.size() < start + size:
                self._map = pa.memory_map(f"/proc/self/fd/{self._file.fileno()}")
            self._map.seek(start)
            return self._map.read_buffer(size)

    def close(self) -> None:
        """Gives the room back."""
        self._map = None
        self._file.close()


_PLACE = struct.Struct(">QQ")
_open: Scratch | None = None


def scratch() -> Scratch | None:
    """The file of the graph that runs in this process; None where there is none."""
    return _open


@contextmanager
def spilling_to(directory: str) -> Iterator[None]:
    """Tables that are coded in the block go to a file in `directory`."""
    global _open
    _open = Scratch(directory)
    try:
        yield
    finally:
        closing, _open = _open, None
        closing.close()
