"""`--verbose`: what libraries and the processes of a command print, each line with its process."""

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path

from manylabel.pipeline.quiet import let_libraries_speak
from manylabel.storage.errors import printable
from manylabel.storage.jobs import LOGS_VARIABLE, JobStage, local_logs_path, logs_of_this_job
from manylabel.storage.repeating import repeating

_POLL_SECONDS = 0.5
LINES = 50
"""Of one process that are shown at a time, twice a second; what is left out is counted."""
_BYTES = 1 << 16  # of one process that are read at a time
_LINE_LENGTH = 2000


class Tail:
    """What comes to the logs of a folder, whenever they come to be there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read = {log: log.stat().st_size for log in folder.glob("*.log")}
        self._cut: dict[Path, bytes] = {}

    def lines(self, *, is_over: bool = False) -> Iterator[str]:
        """Since the last call, as `worker-1 | what it printed`.

        Args:
            is_over: also what does not end as a line does.
        """
        for log in sorted(self._folder.glob("*.log")):
            try:
                lines, left_out = self._new_lines(log, is_over=is_over)
            except OSError:  # storage that is away for a moment
                continue
            for line in lines:
                yield f"{log.stem} | {_shown(line)}"
            if left_out:
                yield f"{log.stem} | ... {left_out} left out; all are in {log}"

    def _new_lines(self, log: Path, *, is_over: bool) -> tuple[list[bytes], str]:
        begin, size = self._read.get(log, 0), log.stat().st_size
        start = max(begin, size - _BYTES)
        with log.open("rb") as file:
            file.seek(start)
            came = file.read(_BYTES)
        self._read[log] = start + len(came)  # which may be more than there was, or less than is
        data = self._cut.pop(log, b"") + came
        *lines, rest = data.split(b"\n")
        if is_over and rest:
            lines.append(rest)
        elif rest:
            self._cut[log] = rest[-_LINE_LENGTH:]
        if size - begin > _BYTES:
            return lines[-LINES:], f"{size - begin - _BYTES:,} bytes and more"
        return lines[-LINES:], f"{len(lines) - LINES:,} lines" if len(lines) > LINES else ""


@contextmanager
def verbose_output(is_verbose: bool, place: Path | None, stage: JobStage) -> Iterator[None]:
    """Shows on standard error, while the block runs, what its processes print.

    Each prints to a file: of the job that this command is, or below `place`.

    Args:
        is_verbose: else nothing is changed.
        place: the run or dataset; None where it is on no file system.
    """
    if not is_verbose:
        yield
        return
    let_libraries_speak()
    with _folder_of_logs(place, stage) as folder, _followed(Tail(folder), _shown_on(sys.stderr)):
        yield


@contextmanager
def _folder_of_logs(place: Path | None, stage: JobStage) -> Iterator[Path]:
    """Where processes that are started meanwhile print to."""
    folder = logs_of_this_job()
    if folder is not None:
        yield folder
        return
    with (
        nullcontext(local_logs_path(place.absolute(), stage))
        if place is not None
        else _temporary_folder()
    ) as folder:
        os.environ[LOGS_VARIABLE] = str(folder)
        try:
            yield folder
        finally:
            del os.environ[LOGS_VARIABLE]


@contextmanager
def _temporary_folder() -> Iterator[Path]:
    """It stays where the block raises and something was printed, and is named then."""
    folder = Path(tempfile.mkdtemp(prefix="manylabel-logs-"))
    is_kept = True
    try:
        yield folder
        is_kept = False
    finally:
        if is_kept and any(folder.iterdir()):
            print(f"what processes printed is in {folder}", file=sys.stderr)
        else:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _followed(tail: Tail, show: Callable[[str], None]) -> Iterator[None]:
    def follow(*, is_over: bool = False) -> None:
        for line in tail.lines(is_over=is_over):
            show(line)

    with repeating(follow, _POLL_SECONDS, "verbose", last=partial(follow, is_over=True)):
        yield


def _shown_on(stderr: object) -> Callable[[str], None]:
    """On a terminal, where a bar moves, by what the bar has put in place of standard error."""

    def show(line: str) -> None:
        is_terminal = getattr(stderr, "isatty", lambda: False)()
        print(line, file=sys.stderr if is_terminal else stderr, flush=True)  # type: ignore[arg-type]

    return show


def _shown(line: bytes) -> str:
    text = line.decode("utf-8", "replace").expandtabs().rstrip("\r")
    return printable(text)[:_LINE_LENGTH]
