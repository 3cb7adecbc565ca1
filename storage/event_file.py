"""TensorBoard event files, written without TensorFlow.

TensorBoard's messages are imported where they are made: whoever reads a run does not need them.
"""

import os
import socket
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from manylabel.storage.errors import CorruptRecordError
from manylabel.storage.full_disks import writing
from manylabel.storage.tfrecord import iterate_records, write_record


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

    def add_histogram(self, step: int, tag: str, counts: Sequence[tuple[int, int]]) -> None:
        """Adds a histogram of whole numbers: (number, how often), ascending; none: no point."""
        from tensorboard.compat.proto import summary_pb2

        if not counts:
            return
        histogram = summary_pb2.HistogramProto(
            min=counts[0][0],
            max=counts[-1][0],
            num=sum(count for _, count in counts),
            sum=sum(number * count for number, count in counts),
            sum_squares=sum(number**2 * count for number, count in counts),
        )
        # A bucket ends at its limit; each number stands in the middle of one of its own.
        for number, count in counts:
            if not histogram.bucket_limit or histogram.bucket_limit[-1] < number - 0.5:
                histogram.bucket_limit.append(number - 0.5)
                histogram.bucket.append(0)
            histogram.bucket_limit.append(number + 0.5)
            histogram.bucket.append(count)
        summary = summary_pb2.Summary(value=[summary_pb2.Summary.Value(tag=tag, histo=histogram)])
        self._add(step, summary=summary)

    def flush(self) -> None:
        """Hands everything so far to the system."""
        with writing(self._path):
            self._file.flush()

    def close(self) -> None:
        """No more is added."""
        with writing(self._path):
            self._file.close()

    def _add(self, step: int, **content: Any) -> None:
        from tensorboard.compat.proto import event_pb2

        event = event_pb2.Event(wall_time=time.time(), step=step, **content)
        with writing(self._path):
            write_record(self._file, event.SerializeToString())


def steps_of(directory: Path, sought: Collection[int] | None = None) -> set[int]:
    """Those of which the event files in a directory have points; a file that was cut short, as on a
    full disk, has them up to there.

    Args:
        sought: no more files are read, from the newest on, than it takes to find these.
    """
    from tensorboard.compat.proto import event_pb2

    steps: set[int] = set()
    for path in sorted(directory.glob("events.out.tfevents.*"), reverse=True):  # By their times.
        if sought is not None and steps.issuperset(sought):
            break
        with suppress(CorruptRecordError):
            for payload in iterate_records(str(path)):
                event = event_pb2.Event.FromString(payload)
                if event.summary.value:
                    steps.add(int(event.step))
    return steps
