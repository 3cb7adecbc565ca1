"""What keeps a run's checkpoints from being removed by its retention (`checkpoints.keep`).

runs/<run>/kept/
  00001200.promoted        this checkpoint stays: it is, or was, the champion
  00001200.reviewed        this checkpoint stays: a review is about it
  after-00001200.nightly   those of later steps wait for the schedule `nightly`

The names say everything: the files are empty, and none can be damaged. Remove one to let go.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

_DIRECTORY = "kept"
_PIN = re.compile(r"(?P<after>after-)?(?P<step>-?\d+)\.(?P<why>.+)")


class KeepReason(StrEnum):
    """Why a checkpoint stays."""

    PROMOTED = "promoted"
    REVIEWED = "reviewed"


@dataclass(frozen=True)
class Pins:
    """What is kept.

    Attributes:
        steps: Of checkpoints that stay.
        after: Checkpoints of later steps wait for a scheduled evaluation; None: none waits.
    """

    steps: frozenset[int]
    after: int | None

    def hold(self, step: int) -> bool:
        """Whether the checkpoint of a step may not be removed."""
        return step in self.steps or (self.after is not None and step > self.after)


def keep(run: Path, step: int, reason: KeepReason) -> None:
    """Keeps a checkpoint until the file is removed by hand."""
    _touch(run, _name(step, reason))


@contextmanager
def pinned(run: Path, step: int, reason: KeepReason) -> Iterator[None]:
    """Keeps a checkpoint, for good if the block ends without an error."""
    before = (run / _DIRECTORY / _name(step, reason)).exists()
    keep(run, step, reason)
    try:
        yield
    except BaseException:
        if not before:
            (run / _DIRECTORY / _name(step, reason)).unlink(missing_ok=True)
        raise


def hold_after(run: Path, schedule: str, step: int) -> None:
    """Keeps the checkpoints of steps above `step` until `schedule` says otherwise.

    Args:
        schedule: Its name, without a slash.
        step: -1 keeps all, that of step 0 as well.
    """
    name = f"after-{step:08d}.{schedule}"
    _touch(run, name)  # Before the earlier one goes: at no time is nothing held.
    _forget(run, schedule, but=name)


def release(run: Path, schedule: str) -> None:
    """No checkpoint waits for `schedule` any more."""
    _forget(run, schedule, but=None)


def read_pins(run: Path) -> Pins:
    """What is kept in a run now."""
    steps, after = set(), []
    for path in (run / _DIRECTORY).glob("*"):
        if match := _PIN.fullmatch(path.name):
            if match["after"]:
                after.append(int(match["step"]))
            else:
                steps.add(int(match["step"]))
    return Pins(frozenset(steps), min(after, default=None))


def holding_schedules(run: Path) -> set[str]:
    """Names of the schedules that checkpoints of a run wait for."""
    matches = (_PIN.fullmatch(path.name) for path in (run / _DIRECTORY).glob("after-*"))
    return {match["why"] for match in matches if match}


def _name(step: int, reason: KeepReason) -> str:
    return f"{step:08d}.{reason}"


def _touch(run: Path, name: str) -> None:
    (run / _DIRECTORY).mkdir(exist_ok=True)
    (run / _DIRECTORY / name).touch()


def _forget(run: Path, schedule: str, but: str | None) -> None:
    for path in (run / _DIRECTORY).glob("after-*"):
        match = _PIN.fullmatch(path.name)
        if match and match["why"] == schedule and path.name != but:
            path.unlink(missing_ok=True)
