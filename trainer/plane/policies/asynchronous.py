"""Gradients are applied as they arrive, within a bound on their staleness or without one."""

from manylabel.trainer.plane.policies.events import (
    Admit,
    Apply,
    Asked,
    Decision,
    Drop,
    Event,
    Left,
    Pushed,
    Rejected,
)


class AsynchronousPolicy:
    """Downpour SGD (Dean et al. 2012, "Large Scale Distributed Deep Networks", section 4.1), on
    weights of one version. Staleness is the number of updates applied between a gradient's weights
    and its own application.

    Waiting keeps the bound of stale synchronous parallel training (Ho et al. 2013), counted in
    updates: it is the beginning of a gradient that waits. One that began d updates ago, beside
    F - 1 others under way, can be overtaken by each of these once before any of them may begin
    anew, so its staleness stays within d + F - 1. Another gradient may begin when, with it, that is
    within the bound for all. So no gradient is ever computed for nothing, the oldest is never
    held up, and a bound of 0 is serial training: one gradient at a time. W workers of equal speed
    never wait from a bound of 2 (W - 1) on.

    Args:
        wait_at: the bound that waiting keeps, in updates; None: nobody waits.
        drop_above: gradients of greater staleness are dropped; None: none is.
        version: updates that were applied before.
    """

    def __init__(
        self, *, wait_at: int | None = None, drop_above: int | None = None, version: int = 0
    ) -> None:
        self._wait_at = wait_at
        self._drop_above = drop_above
        self._version = version
        self._begun: dict[str, int] = {}  # worker -> version of the weights that it computes from
        self._asking: list[str] = []  # in the order they asked

    def on(self, event: Event) -> list[Decision]:
        """See `UpdatePolicy.on`."""
        decisions: list[Decision] = []
        match event:
            case Asked(worker):
                self._forget(worker)
                self._asking.append(worker)
            case Pushed(update, base):
                self._forget(update[0])
                if self._drop_above is not None and self._version - base > self._drop_above:
                    decisions.append(Drop(update))
                else:
                    self._version += 1
                    decisions.append(Apply((update,)))
            case Rejected(update):
                self._forget(update[0])
            case Left(worker):
                self._forget(worker)
        while self._asking and self._may_begin():
            worker = self._asking.pop(0)
            self._begun[worker] = self._version
            decisions.append(Admit(worker))
        return decisions

    def _may_begin(self) -> bool:
        if self._wait_at is None:
            return True
        oldest = self._version - min(self._begun.values(), default=self._version)
        return oldest + len(self._begun) <= self._wait_at

    def _forget(self, worker: str) -> None:
        self._begun.pop(worker, None)
        if worker in self._asking:
            self._asking.remove(worker)
