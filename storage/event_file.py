"""TensorBoard event files, written without TensorFlow.

TensorBoard's messages are imported where they are made: whoever reads a run does not need them.
"""

import os
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from manylabel.storage.tfrecord import write_record


class EventFile:
    """A new event file in a directory.

    An event file is a TFRecord of Event messages. TensorBoard's own writer would load TensorFlow
    into a process that has no other use for it.
    """

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        name = f"events.out.tfevents.{time.time_ns()}.{socket.gethostname()}.{os.getpid()}"
        self._path = directory / name
        self._file = self._path.open("wb")
        self._add(0, file_version="brain.Event:2")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def begin_at(self, step: int) -> None:
        """Has TensorBoard drop what it has read of this step and later ones."""
        from tensorboard.compat.proto import event_pb2

        self._add(step, session_log=event_pb2.SessionLog(status=event_pb2.SessionLog.START))

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Adds a point to the curve of each tag."""
        from tensorboard.compat.proto import summary_pb2

        summary = summary_pb2.Summary(
            value=[
                summary_pb2.Summary.Value(tag=tag, simple_value=value)
                for tag, value in values.items()
            ]
        )
        self._add(step, summary=summary)

    def flush(self) -> None:
        """Hands everything so far to the system."""
        with self._named():
            self._file.flush()

    def close(self) -> None:
        """No more is added."""
        with self._named():
            self._file.close()

    @contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:  # A full disk says neither where nor of what.
            error.filename = error.filename or str(self._path)
            raise

    def _add(self, step: int, **content: Any) -> None:
        from tensorboard.compat.proto import event_pb2

        event = event_pb2.Event(wall_time=time.time(), step=step, **content)
        with self._named():
            write_record(self._file, event.SerializeToString())
