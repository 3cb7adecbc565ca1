"""Which training records were counted, which are out with a worker, which are still to come.

A run reads one endless stream of records: position p is the (p mod N)-th record that epoch
p // N deals, N being the number of training records (`trainer.records.order`). The ledger knows
positions only. Each is in exactly one state: not dealt, returned (dealt, then taken back),
leased to one worker, or settled (its gradient was applied, or it was skipped for a stated reason).
"""

import enum
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from manylabel.storage.documents import Count
from manylabel.trainer.records.intervals import IntervalSet, runs


class LedgerError(RuntimeError):
    """A worker named records that are not leased to it."""


class Settlement(enum.StrEnum):
    """Why a record will not be dealt again in its epoch."""

    APPLIED = "applied"  # a gradient that holds it was applied
    BAD_RECORD = "bad_record"  # it could not be read or decoded
    REJECTED_GRADIENT = "rejected_gradient"  # its batch gave a NaN or Inf gradient


class LedgerState(BaseModel):
    """What a checkpoint keeps. Records out with workers count as still to be dealt."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    next_position: Count
    undone: tuple[tuple[Count, Count], ...]
    settled: dict[Settlement, Count]


@dataclass
class RecordLedger:
    """Deals half-open position ranges of [0, total) to workers and counts what comes back.

    Args:
        total: positions of the whole run, epochs x records.
        lease_size: most positions in one lease.
    """

    total: int
    lease_size: int
    _next: int = 0
    _returned: IntervalSet = field(default_factory=IntervalSet)
    _leased: dict[str, IntervalSet] = field(default_factory=dict)
    _settled: dict[Settlement, int] = field(default_factory=lambda: dict.fromkeys(Settlement, 0))

    @classmethod
    def restore(cls, state: LedgerState, total: int, lease_size: int) -> "RecordLedger":
        """The ledger as of `state`, with everything that was out to be dealt again.

        `total` may have grown or shrunk since. A shorter run deals nothing beyond it, but keeps
        what is undone there, for a run that is made longer again.
        """
        return cls(
            total,
            lease_size,
            state.next_position,
            IntervalSet(state.undone),
            {},
            {kind: state.settled.get(kind, 0) for kind in Settlement},
        )

    def lease(self, worker: str) -> tuple[int, int] | None:
        """A range for `worker`, taken-back records first; None when there is nothing to deal."""
        if self._returned.size_within(0, self.total):
            first, _ = next(iter(self._returned))
            start, stop = self._returned.take_first(min(self.lease_size, self.total - first))
        elif self._next < self.total:
            start, stop = self._next, min(self._next + self.lease_size, self.total)
            self._next = stop
        else:
            return None
        self._leased.setdefault(worker, IntervalSet()).add(start, stop)
        return start, stop

    def holds(self, worker: str, positions: NDArray[np.int64]) -> bool:
        """Whether every position is leased to `worker` and unsettled, none named twice."""
        leased = self._leased.get(worker, IntervalSet())
        return len(np.unique(positions)) == len(positions) and all(
            leased.contains(start, stop) for start, stop in runs(positions)
        )

    def settle(self, worker: str, positions: NDArray[np.int64], how: Settlement) -> None:
        """Counts `positions` (int64[n]) as done, for good.

        Raises:
            LedgerError: one of them is not leased to `worker`: it was taken back, or counted
                before. Nothing is changed then.
        """
        self._expect_held(worker, positions)
        for start, stop in runs(positions):
            self._leased[worker].remove(start, stop)
        self._settled[how] += len(positions)

    def give_back(self, worker: str, positions: NDArray[np.int64]) -> None:
        """Returns `positions` (int64[n]), leased to `worker`, to the pool: nothing came of them.

        Raises:
            LedgerError: as `settle`.
        """
        self._expect_held(worker, positions)
        for start, stop in runs(positions):
            self._leased[worker].remove(start, stop)
            self._returned.add(start, stop)

    def take_back(self, worker: str) -> int:
        """Returns everything leased to `worker` to the pool; how many records that were."""
        leased = self._leased.pop(worker, IntervalSet())
        for start, stop in leased:
            self._returned.add(start, stop)
        return leased.size

    def settled(self, how: Settlement) -> int:
        """How many positions were settled this way."""
        return self._settled[how]

    @property
    def has_work(self) -> bool:
        """Whether a worker that asks now would get a lease."""
        return self._next < self.total or self._returned.size_within(0, self.total) > 0

    @property
    def finished(self) -> bool:
        """Whether every position of the run is settled."""
        return self.settled_within(0, self.total) == self.total

    def settled_within(self, start: int, stop: int) -> int:
        """How many positions of [start, stop) are settled."""
        dealt = max(0, min(self._next, stop) - start)
        return dealt - self._undone().size_within(start, stop)

    def state(self) -> LedgerState:
        """A value to checkpoint."""
        return LedgerState(
            next_position=self._next, undone=tuple(self._undone()), settled=dict(self._settled)
        )

    def _expect_held(self, worker: str, positions: NDArray[np.int64]) -> None:
        if not self.holds(worker, positions):
            raise LedgerError(
                f"expected positions leased to worker {worker!r}, received {runs(positions)}; "
                f"it holds {list(self._leased.get(worker, IntervalSet()))}"
            )

    def _undone(self) -> IntervalSet:
        undone = IntervalSet(self._returned)
        for leased in self._leased.values():
            for start, stop in leased:
                undone.add(start, stop)
        return undone
