"""How far long work is: a bar on a terminal, a line every now and then in a log."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, Task, TaskID, TextColumn, TimeRemainingColumn
from rich.text import Text

_SECONDS_BETWEEN = 10.0  # Lines of one display.
_SEEN_BYTES = 1_000_000


class ProgressDisplay(Protocol):
    """Where a stage tells how far it is."""

    def update(self, done: int, total: int | None, note: str = "") -> None:
        """Shows `done` of `total` (None: not known yet), and a few words on how it goes."""

    def part(
        self, name: str, done: int, total: int | None, unit: str, rate: float, under_way: int = 0
    ) -> None:
        """Shows how far one part of the work is, of several that follow each other.

        Args:
            name: of the part.
            done: how many of its units; total: of all, None where nobody knows.
            unit: in the plural. rate: units a second, 0 where it is not known yet.
            under_way: bytes of what is begun and not counted yet.
        """

    def line(self, text: str) -> None:
        """Shows something that is worth keeping."""


@contextmanager
def progress_display(
    title: str, console: Console, clock: Callable[[], float] = time.monotonic
) -> Iterator[ProgressDisplay]:
    """A bar when the console is a terminal, else lines."""
    if not console.is_terminal:
        lines = _Lines(title, console, clock)
        try:
            yield lines
        finally:
            lines.end_part()
        return
    columns = (
        TextColumn("[bold]{task.description}"),
        BarColumn(bar_width=24),
        TextColumn("{task.fields[count]}"),
        _TimeRemaining(compact=True),
        TextColumn("{task.fields[note]}", style="dim"),
    )
    with Progress(*columns, console=console) as bar:
        yield _Bar(bar, title)


class _TimeRemaining(TimeRemainingColumn):
    """Rich's estimate, where the note has none."""

    def render(self, task: Task) -> Text:
        """As `ProgressColumn.render`."""
        return super().render(task) if task.fields["timed"] else Text()


class _Bar:
    def __init__(self, bar: Progress, title: str) -> None:
        self._bar = bar
        self._title = title
        self._task = self._begin(title, timed=True)

    def update(self, done: int, total: int | None, note: str = "") -> None:
        """See `ProgressDisplay.update`."""
        count = "" if total is None else f"{done:,}/{total:,}"
        self._bar.update(self._task, completed=done, total=total, count=count, note=note)

    def part(
        self, name: str, done: int, total: int | None, unit: str, rate: float, under_way: int = 0
    ) -> None:
        """See `ProgressDisplay.part`."""
        if name != self._title:  # Rich forgets no total, so that each part has a bar of its own.
            self._bar.remove_task(self._task)
            self._title, self._task = name, self._begin(name, timed=False)
        count = _counted(done, unit) if total is None else f"{done:,}/{total:,}"
        note = _pace(done, total, unit, rate, under_way)
        self._bar.update(self._task, completed=done, total=total, count=count, note=note)

    def line(self, text: str) -> None:
        """See `ProgressDisplay.line`."""
        self._bar.console.print(text, markup=False, highlight=False)

    def _begin(self, name: str, *, timed: bool) -> TaskID:
        return self._bar.add_task(name, total=None, count="", note="", timed=timed)


class _Lines:
    def __init__(self, title: str, console: Console, clock: Callable[[], float]) -> None:
        self._title = title
        self._console = console
        self._clock = clock
        self._shown_at = float("-inf")
        self._shown = ""
        self._part = ""
        self._unshown = ""

    def update(self, done: int, total: int | None, note: str = "") -> None:
        """See `ProgressDisplay.update`."""
        if total is None:
            text, due = note, True
        else:
            text, due = f"{_share(done, total)}  {note}".rstrip(), done >= total
        text = f"{self._title}: {text}"
        if text != self._shown and (due or self._is_time()):
            self._show(text)

    def part(
        self, name: str, done: int, total: int | None, unit: str, rate: float, under_way: int = 0
    ) -> None:
        """See `ProgressDisplay.part`; the last state of each part is shown when the next begins."""
        if name != self._part:
            self.end_part()
            self._part, self._shown_at = name, self._clock()
        count = _counted(done, unit) if total is None else _share(done, total)
        how_far = f"{count}  {_pace(done, total, unit, rate, under_way)}".strip()
        text = f"{name}: {how_far}" if how_far else name
        self._unshown = text if text != self._shown else ""
        if self._is_time():
            self.end_part()

    def end_part(self) -> None:
        """Shows how far the present part came, if there is one and that is not shown already."""
        if self._unshown:
            self._show(self._unshown)
            self._unshown = ""

    def line(self, text: str) -> None:
        """See `ProgressDisplay.line`."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def _is_time(self) -> bool:
        return self._clock() - self._shown_at >= _SECONDS_BETWEEN

    def _show(self, text: str) -> None:
        self._shown_at, self._shown = self._clock(), text
        self.line(text)


def _share(done: int, total: int) -> str:
    """100% only when all is done."""
    share = f" {100 * done // total:3d}%" if total else ""
    return f"{done:,} of {total:,}{share}"


def _counted(done: int, unit: str) -> str:
    return f"{done:,} {unit}" if done else ""


def _pace(done: int, total: int | None, unit: str, rate: float, under_way: int) -> str:
    parts = []
    if rate:
        parts.append(f"{rate:,.0f} {unit}/s" if rate >= 10 else f"{rate:.2g} {unit}/s")
        if total is not None and done < total:
            parts.append(f"{_duration((total - done) / rate)} left")
    if under_way >= _SEEN_BYTES:
        parts.append(f"{under_way / 1e6:,.0f} MB under way")
    return ", ".join(parts)


def _duration(seconds: float) -> str:
    """In the largest unit that leaves two figures or so."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 100 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h"
