"""What is fuzzed, what must hold of each case, and what a case costs."""

import faulthandler
import shutil
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hypothesis
from hypothesis import HealthCheck, Phase, settings
from hypothesis.strategies import SearchStrategy

MOST_SECONDS = 10
"""Of computing, which a busy machine does not lengthen, that a case may take."""

_HANGS_AFTER = 120
"""Seconds by the clock: what waits computes nothing."""

MOST_BYTES = 96 << 20
"""Of memory that a case may take, unless its target says otherwise. Inputs have some kilobytes; the
largest buffers of ours, lines and items of text, some ten megabytes."""

MOST_CHARACTERS = 2000
"""Of what an error says, which may repeat a path and something of the input."""

WARM = 3

ACCEPTED = "accepted"


@dataclass(frozen=True)
class Target:
    """Something that reads what others wrote.

    Attributes:
        name: As `_many.py` prints it.
        cases: Inputs, sound and damaged.
        check: Reads a case, in an empty folder that it may use, and returns ACCEPTED or what was
            refused. Whatever it raises is a finding.
        most_bytes: Of memory that a case may take.
    """

    name: str
    cases: SearchStrategy[Any]
    check: Callable[[Any, Path], str]
    most_bytes: int = MOST_BYTES


@dataclass(frozen=True)
class Cost:
    """Of one case: its CPU time, and by how much the process grew for it at most."""

    seconds: float
    bytes: int


def attempt(target: Target, case: Any, folder: Path) -> tuple[str, Cost]:
    """What the target says of a case, and what that cost.

    Args:
        folder: Emptied before.

    Raises:
        AssertionError: it took too long, or too much memory, or `check` found something.
        Exception: of another kind than the target's documented ones.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    Path("/proc/self/clear_refs").write_text("5")  # The peak begins anew.
    before, began = resident("VmRSS"), time.process_time()
    # A library that hangs holds Python's lock, so that no exception would end it.
    faulthandler.dump_traceback_later(_HANGS_AFTER, exit=True)
    try:
        verdict = target.check(case, folder)
    finally:
        faulthandler.cancel_dump_traceback_later()
    cost = Cost(time.process_time() - began, resident("VmHWM") - before)
    assert cost.seconds < MOST_SECONDS, f"it took {cost.seconds:.1f} seconds"
    assert cost.bytes < target.most_bytes, f"it took {cost.bytes:,} bytes of memory"
    return verdict, cost


def refused(error: BaseException) -> str:
    """Where a target refuses, as in "csv_file.py:233", from an error that it documents.

    Raises:
        AssertionError: nobody could read the error: it says nothing, or very much, or not in one
            line of signs that a terminal shows.
    """
    text = str(error)
    assert text.strip(), f"{type(error).__name__} says nothing"
    check_line(text)
    # Memory, of which a case needs little; and images that were not counted.
    assert "received too little" not in text, text
    assert "error in the program" not in text, text
    return place_of(error)


def place_of(error: BaseException) -> str:
    """File and number of the last line of the project that an error came through."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [each for each in frames if "/manylabel/" in each.filename]
    return f"{Path(ours[-1].filename).name}:{ours[-1].lineno}" if ours else "elsewhere"


def check_line(text: str) -> None:
    """Raises AssertionError as `refused`."""
    assert len(text.splitlines()) == 1, f"expected one line, received {text!r}"
    assert len(text) <= MOST_CHARACTERS, (
        f"expected a line, received {len(text)} characters: {text[:300]!r}"
    )
    assert text.replace("\t", " ").isprintable(), (
        f"expected what a terminal shows, received {text!r}"
    )


def explore(
    cases: SearchStrategy[Any],
    seed: int,
    number: int,
    on_case: Callable[[Any], object],
    shrink: bool = True,
) -> None:
    """Calls a function with so many cases, the same ones for the same seed.

    With `shrink`, a case that makes it raise is made as small as one that still does.
    """
    phases = [Phase.generate, Phase.shrink] if shrink else [Phase.generate]

    @hypothesis.seed(seed)
    @settings(
        max_examples=number,
        database=None,
        deadline=None,
        phases=phases,
        suppress_health_check=list(HealthCheck),
    )
    @hypothesis.given(cases)
    def explored(case: Any) -> None:
        on_case(case)

    explored()


def fuzz(target: Target, folder: Path, number: int, sound: Sequence[Any] = ()) -> None:
    """The short run of a test: so many cases, always the same.

    Args:
        sound: Cases that must be accepted, so that a target that refuses everything fails.
    """
    warm(target, sound, folder)
    for case in sound:
        assert attempt(target, case, folder)[0] == ACCEPTED
    explore(target.cases, 1, number, lambda case: attempt(target, case, folder))


def warm(target: Target, cases: Sequence[Any], folder: Path) -> None:
    """Reads cases without a look at their cost: libraries load and compile what they need."""
    for case in cases[:WARM]:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        target.check(case, folder)


def resident(field: str) -> int:
    """VmRSS, what the process holds, VmHWM, its peak, or VmSize, its addresses; in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return int(value.split()[0]) << 10
    raise AssertionError(f"/proc/self/status: expected {field}")
