"""Rounds: an update is the mean of gradients that were computed from the same weights."""

from manylabel.trainer.plane.policies.events import (
    Admit,
    Apply,
    Asked,
    Decision,
    Drop,
    Event,
    Joined,
    Left,
    Pushed,
    Stopping,
)


class SynchronousPolicy:
    """Synchronous SGD with backup workers (Chen et al. 2016, "Revisiting Distributed Synchronous
    SGD", arXiv 1604.00981, algorithms 3 and 4): of N + b workers the first N gradients of a round
    are averaged and applied, and the b that come later are dropped.

    A worker whose gradient is in the round waits until it is closed. One that ends takes its
    gradient along, and the round goes on with fewer: it is closed by N gradients, or by one of each
    worker that is left. A worker is one of those from when it first asks for weights: there may be
    no place for one that was started. Only the first round waits for all that were started before
    its end, unless there are backup workers: else it would be of the first to ask.

    Args:
        gradients: N, gradients in an update.
        version: updates that were applied before.
    """

    def __init__(self, gradients: int, *, version: int = 0) -> None:
        self._gradients = gradients
        self._version = version
        self._first_round = True
        self._started: set[str] = set()  # in the first round, and they have not asked yet
        self._workers: set[str] = set()
        self._round: dict[str, Pushed] = {}
        self._waiting: list[str] = []
        self._stopping = False

    def on(self, event: Event) -> list[Decision]:
        """See `UpdatePolicy.on`."""
        match event:
            case Joined(worker):
                if self._first_round:
                    self._started.add(worker)
            case Asked(worker):
                self._started.discard(worker)
                self._workers.add(worker)
                if worker not in self._round:
                    return [Admit(worker)]
                self._waiting.append(worker)
            case Pushed(update, base):
                if base != self._version or self._stopping:
                    return [Drop(update)]
                self._round[update[0]] = event
            case Left(worker):
                self._started.discard(worker)
                self._workers.discard(worker)
                self._round.pop(worker, None)
                self._waiting = [other for other in self._waiting if other != worker]
            case Stopping():
                return self._give_up()
        return self._closed()

    def _closed(self) -> list[Decision]:
        """The end of the round, once enough is there."""
        workers = len(self._workers) + len(self._started)
        if not self._round or len(self._round) < min(self._gradients, workers):
            return []
        # In the order of their records: the sum does not hang on who came first.
        parts = sorted(self._round.values(), key=lambda pushed: pushed.first_position)
        admitted = [Admit(worker) for worker in self._waiting]
        self._round, self._waiting = {}, []
        self._first_round, self._started = False, set()
        self._version += 1
        return [Apply(tuple(pushed.update for pushed in parts)), *admitted]

    def _give_up(self) -> list[Decision]:
        """The round is not closed with what happens to be there: an update is of N gradients."""
        self._stopping = True
        dropped: list[Decision] = [Drop(pushed.update) for pushed in self._round.values()]
        self._round = {}
        return dropped
