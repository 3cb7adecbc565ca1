"""The metrics of a run on disk: metrics.jsonl for programs, TensorBoard events for people."""

import dataclasses
import os
from contextlib import closing, nullcontext, suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, ClassVar, Literal, Self

from pydantic import ConfigDict, TypeAdapter, model_validator

from manylabel.storage.documents import Document
from manylabel.storage.event_file import EventFile
from manylabel.storage.full_disks import writing
from manylabel.trainer.plane.metrics import MetricsRow
from manylabel.trainer.runs.line_file import clear_copies, cut_behind, thin

JSON_LINES = "metrics.jsonl"
TENSORBOARD = "tensorboard"
_TAIL_BYTES = 2**16
"""Of a file that hold its last row, which has some 300, and 10 for each staleness that occurred."""

_ROW = TypeAdapter(MetricsRow)


MOST_BYTES = 2**26
"""Of metrics.jsonl, some 200,000 rows: then every other row of its older half is dropped, so that
a run of 30 million updates keeps 20 MB of the past instead of half a gigabyte."""


class MetricsLog:
    """Appends rows to both files.

    Args:
        resumed_at: step of the checkpoint that the run goes on from. Rows after it were of
            updates that are lost, and are removed.
    """

    def __init__(self, run: Path, resumed_at: int) -> None:
        self._path = path = run / JSON_LINES
        with suppress(OSError):  # Room alone is lost; the next start tries again.
            clear_copies(path)
        if path.exists():
            cut_behind(path, lambda line, begin: _row_at(path, line, begin).step <= resumed_at)
        self._file = path.open("a", encoding="utf-8")
        self._thin_at = MOST_BYTES
        self._replaced = False  # by its thinned copy: what is written to it now is lost
        self._kept: list[MetricsRow] = []  # until it is open again
        self._events = EventFile(run / TENSORBOARD)
        self._events.begin_at(resumed_at + 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # Rows that do not fit were told when they were appended: what ended the block is more.
        told = suppress(OSError) if error else nullcontext()
        with told, closing(self._events), writing(self._path):
            self._file.close()

    def append(self, rows: list[MetricsRow]) -> None:
        """Writes rows to disk.

        Raises:
            OSError: storage did not take them; names the file. The next call tries again.
        """
        with writing(self._path):
            self._append(rows)

    def _append(self, rows: list[MetricsRow]) -> None:
        self._kept += rows
        if self._replaced:
            self._reopen()
        rows, self._kept = self._kept, []
        for row in rows:
            self._file.write(_line(row))
            values = dataclasses.asdict(row)
            step, staleness = values.pop("step"), values.pop("staleness_counts")
            self._events.add(step, {f"training/{name}": value for name, value in values.items()})
            self._events.add_histogram(step, "training/staleness_histogram", staleness)
        self._file.flush()
        self._events.flush()
        if self._file.tell() > self._thin_at:
            self._thin()

    def _thin(self) -> None:
        with suppress(OSError):  # There is no room for the copy now; no reason to end training.
            thin(self._path)
            self._replaced = True
        self._reopen()

    def _reopen(self) -> None:
        # Open until another is: the next call may come although this one fails.
        thinned, self._file = self._file, self._path.open("a", encoding="utf-8")
        self._replaced = False
        self._thin_at = max(MOST_BYTES, self._file.tell() + MOST_BYTES // 4)
        thinned.close()


def read_metrics(run: Path) -> list[MetricsRow]:
    """The rows of a run's metrics.jsonl; a last line cut short by a killed job is left out.

    Raises:
        DocumentError: a line is damaged, or of another format version.
    """
    path = run / JSON_LINES
    return [row for _, row in _whole_lines(path)] if path.exists() else []


def _whole_lines(path: Path) -> list[tuple[bytes, MetricsRow]]:
    """Each line that was not cut short, as it is on disk, and its row; raises as `read_metrics`."""
    lines = path.read_bytes().splitlines(keepends=True)
    return [
        (line, _Line.parse(line, f"{path}, line {number}").row())
        for number, line in enumerate(lines, start=1)
        if line.endswith(b"\n")
    ]


def sample_metrics(run: Path, most: int) -> list[MetricsRow]:
    """At most `most` (2 or more) rows of a run's metrics.jsonl, evenly spread, and the last one.

    Reads only parts of the file: months of training leave one of hundreds of megabytes.

    Raises:
        DocumentError: one of them is damaged, or of another format version.
    """
    path = run / JSON_LINES
    if not path.exists():
        return []
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        chosen = [_next_line(file, size * part // (most - 1)) for part in range(most - 1)]
        file.seek(max(0, size - _TAIL_BYTES))
        tail = file.read()
    whole = tail[: tail.rfind(b"\n") + 1]
    last = whole[whole.rfind(b"\n", 0, -1) + 1 :]
    chosen.append((size - len(tail) + len(whole) - len(last), last))
    return [
        _row_at(path, line, offset)
        for offset, line in sorted(dict(chosen).items())
        if line.endswith(b"\n")
    ]


def _row_at(path: Path, line: bytes, offset: int) -> MetricsRow:
    return _Line.parse(line, f"{path}, byte {offset}").row()


def _next_line(file: BinaryIO, place: int) -> tuple[int, bytes]:
    """The first line that begins at a byte or after it, and where."""
    file.seek(max(0, place - 1))
    if place > 0:
        file.readline()
    return file.tell(), file.readline()


class _Line(Document):
    """A row as it is stored: its fields, and the format version before them."""

    model_config = ConfigDict(extra="allow")

    NOUN: ClassVar[str] = "a row of metrics"
    REMEDY: ClassVar[str] = "move the file away, or use the version of manylabel that wrote it"

    format_version: Literal[1] = 1

    @model_validator(mode="after")
    def _has_the_fields_of_a_row(self) -> Self:
        fields = dataclasses.fields(MetricsRow)
        names = {field.name for field in fields}
        # Rows of earlier versions lack the others.
        needed = {field.name for field in fields if field.default is dataclasses.MISSING}
        if not needed <= (self.model_extra or {}).keys() <= names:
            raise ValueError(f"expected {sorted(names)}, received {sorted(self.model_extra or {})}")
        self.row()
        return self

    def row(self) -> MetricsRow:
        return _ROW.validate_python(self.model_extra)


def _line(row: MetricsRow) -> str:
    return _Line(**dataclasses.asdict(row)).model_dump_json() + "\n"
