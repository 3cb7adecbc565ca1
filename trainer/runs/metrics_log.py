"""The metrics of a run on disk: metrics.jsonl for programs, TensorBoard events for people."""

import dataclasses
import os
import socket
import time
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Literal, Self

from pydantic import ConfigDict, TypeAdapter, model_validator
from tensorboard.compat.proto import event_pb2, summary_pb2

from manylabel.storage.atomic import replace_text
from manylabel.storage.documents import Document
from manylabel.storage.tfrecord import write_record
from manylabel.trainer.plane.metrics import MetricsRow

JSON_LINES = "metrics.jsonl"
TENSORBOARD = "tensorboard"

_ROW = TypeAdapter(MetricsRow)


class MetricsLog:
    """Appends rows to both files.

    Args:
        resumed_at: step of the checkpoint that the run goes on from. Rows after it were of
            updates that are lost, and are removed.
    """

    def __init__(self, run: Path, resumed_at: int) -> None:
        path = run / JSON_LINES
        if path.exists():
            kept = [row for row in read_metrics(run) if row.step <= resumed_at]
            replace_text(path, "".join(map(_line, kept)))
        self._file = path.open("a", encoding="utf-8")
        # An event file is a TFRecord of Event messages. TensorBoard's own writer would load
        # TensorFlow into a process that has no other use for it.
        (run / TENSORBOARD).mkdir(exist_ok=True)
        name = f"events.out.tfevents.{time.time_ns()}.{socket.gethostname()}.{os.getpid()}"
        self._events = (run / TENSORBOARD / name).open("wb")
        self._add_event(0, file_version="brain.Event:2")
        # On meeting a START, TensorBoard drops what it has read of this step and later ones.
        start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
        self._add_event(resumed_at + 1, session_log=start)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()
        self._events.close()

    def append(self, rows: list[MetricsRow]) -> None:
        """Writes rows to disk."""
        for row in rows:
            self._file.write(_line(row))
            values = [
                summary_pb2.Summary.Value(tag=f"training/{name}", simple_value=value)
                for name, value in dataclasses.asdict(row).items()
                if name != "step"
            ]
            self._add_event(row.step, summary=summary_pb2.Summary(value=values))
        self._file.flush()
        self._events.flush()

    def _add_event(self, step: int, **content: Any) -> None:
        event = event_pb2.Event(wall_time=time.time(), step=step, **content)
        write_record(self._events, event.SerializeToString())


def read_metrics(run: Path) -> list[MetricsRow]:
    """The rows of a run's metrics.jsonl; a last line cut short by a killed job is left out.

    Raises:
        DocumentError: a line is damaged, or of another format version.
    """
    path = run / JSON_LINES
    if not path.exists():
        return []
    lines = path.read_bytes().splitlines(keepends=True)
    return [
        _Line.parse(line, f"{path}, line {number}").row()
        for number, line in enumerate(lines, start=1)
        if line.endswith(b"\n")
    ]


class _Line(Document):
    """A row as it is stored: its fields, and the format version before them."""

    model_config = ConfigDict(extra="allow")

    NOUN: ClassVar[str] = "a row of metrics"
    REMEDY: ClassVar[str] = "move the file away, or use the version of manylabel that wrote it"

    format_version: Literal[1] = 1

    @model_validator(mode="after")
    def _has_the_fields_of_a_row(self) -> Self:
        names = {field.name for field in dataclasses.fields(MetricsRow)}
        if names != (self.model_extra or {}).keys():
            raise ValueError(f"expected {sorted(names)}, received {sorted(self.model_extra or {})}")
        self.row()
        return self

    def row(self) -> MetricsRow:
        return _ROW.validate_python(self.model_extra)


def _line(row: MetricsRow) -> str:
    return _Line(**dataclasses.asdict(row)).model_dump_json() + "\n"
