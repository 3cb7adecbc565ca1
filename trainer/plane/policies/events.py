"""What an update policy is told, and what it decides.

A policy is a state machine: it knows no clock, no process and no number of a gradient, and the same
events in the same order give the same decisions, whether a coordinator feeds it in one process, on
Ray, or a test from the trace of a run.
"""

from dataclasses import dataclass
from typing import Protocol

from manylabel.trainer.plane.shard import UpdateId


@dataclass(frozen=True)
class Joined:
    """A worker was started; it may need long before it asks for weights."""

    worker: str


@dataclass(frozen=True)
class Left:
    """A worker ended. What it had pushed, and is not applied, went with it."""

    worker: str


@dataclass(frozen=True)
class Asked:
    """A worker wants weights to compute a gradient from."""

    worker: str


@dataclass(frozen=True)
class Pushed:
    """A gradient is staged on every shard, and finite.

    Attributes:
        base_version: version of the weights it was computed from.
        first_position: stream position of its first record.
    """

    update: UpdateId
    base_version: int
    first_position: int


@dataclass(frozen=True)
class Rejected:
    """A gradient held NaN or Inf, and is gone."""

    update: UpdateId


@dataclass(frozen=True)
class Stopping:
    """Nobody will begin another gradient."""


Event = Joined | Left | Asked | Pushed | Rejected | Stopping


@dataclass(frozen=True)
class Admit:
    """The worker gets the newest weights."""

    worker: str


@dataclass(frozen=True)
class Apply:
    """The mean of these gradients, weighted by their records, makes the next version."""

    updates: tuple[UpdateId, ...]


@dataclass(frozen=True)
class Drop:
    """The gradient is forgotten, and its records are dealt again."""

    update: UpdateId


Decision = Admit | Apply | Drop


class UpdatePolicy(Protocol):
    """Decides on each event as it comes."""

    def on(self, event: Event) -> list[Decision]:
        """What to do now, in this order. At most one is `Apply`."""
