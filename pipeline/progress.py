"""How far long work is: a bar on a terminal, a line every now and then in a log."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

_SECONDS_BETWEEN = 10.0  # Lines of one display.


class ProgressDisplay(Protocol):
    """Where a stage tells how far it is."""

    def update(self, done: int, total: int | None, note: str = "") -> None:
        """Shows `done` of `total` (None: not known yet), and a few words on how it goes."""

    def line(self, text: str) -> None:
        """Shows something that is worth keeping."""


@contextmanager
def progress_display(
    title: str, console: Console, clock: Callable[[], float] = time.monotonic
) -> Iterator[ProgressDisplay]:
    """A bar when the console is a terminal, else lines."""
    if not console.is_terminal:
        yield _Lines(title, console, clock)
        return
    columns = (
        TextColumn("[bold]{task.description}"),
        BarColumn(bar_width=24),
        TextColumn("{task.fields[count]}"),
        TimeRemainingColumn(compact=True),
        TextColumn("{task.fields[note]}", style="dim"),
    )
    with Progress(*columns, console=console) as bar:
        yield _Bar(bar, bar.add_task(title, total=None, count="", note=""))


class _Bar:
    def __init__(self, bar: Progress, task: TaskID) -> None:
        self._bar = bar
        self._task = task

    def update(self, done: int, total: int | None, note: str = "") -> None:
        """See `ProgressDisplay.update`."""
        count = "" if total is None else f"{done:,}/{total:,}"
        self._bar.update(self._task, completed=done, total=total, count=count, note=note)

    def line(self, text: str) -> None:
        """See `ProgressDisplay.line`."""
        self._bar.console.print(text, markup=False, highlight=False)


class _Lines:
    def __init__(self, title: str, console: Console, clock: Callable[[], float]) -> None:
        self._title = title
        self._console = console
        self._clock = clock
        self._shown_at = float("-inf")
        self._shown = ""

    def update(self, done: int, total: int | None, note: str = "") -> None:
        """See `ProgressDisplay.update`."""
        if total is None:
            text, due = note, True
        else:
            share = f"{done / total:4.0%}" if total else ""
            text, due = f"{done:,} of {total:,} {share}  {note}".rstrip(), done >= total
        if text != self._shown and (due or self._clock() - self._shown_at >= _SECONDS_BETWEEN):
            self._shown_at, self._shown = self._clock(), text
            self.line(f"{self._title}: {text}")

    def line(self, text: str) -> None:
        """See `ProgressDisplay.line`."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)
