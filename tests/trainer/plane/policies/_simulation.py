"""Workers of made-up speeds around a policy: which gradients become updates, and how stale."""

import heapq
import random

from manylabel.trainer.plane.policies.events import (
    Admit,
    Apply,
    Asked,
    Drop,
    Joined,
    Left,
    Pushed,
)


class Simulation:
    """Runs a policy on a clock of its own.

    Attributes:
        staleness: of each applied gradient; dropped: how many gradients were.
        parts: how many gradients each update is of.
        waits: times that a worker asked and was not admitted at once.
    """

    def __init__(self, policy, seconds):
        """`seconds(worker)`: how long the worker's next gradient takes."""
        self.policy, self.seconds = policy, seconds
        self.version = 0
        self.staleness, self.parts = [], []
        self.dropped = self.waits = 0
        self._under_way = {}  # worker -> (its update, version of its weights)
        self._bases = {}  # of what was pushed
        self._computing = []  # (when it is done, number, worker)
        self._began = 0
        self._now = 0.0
        self._dead = set()

    def start(self, workers):
        for worker in workers:
            self._tell(Joined(worker))
        for worker in workers:
            self._ask(worker)

    def kill(self, worker):
        self._dead.add(worker)
        self._bases = {u: base for u, base in self._bases.items() if u[0] != worker}
        self._tell(Left(worker))

    def run(self, pushes):
        """Until so many gradients were pushed. A policy that lets nobody go on fails here."""
        while pushes:
            self._now, _, worker = heapq.heappop(self._computing)
            if worker in self._dead:
                continue
            pushes -= 1
            update, base = self._under_way.pop(worker)
            self._bases[update] = base
            self._tell(Pushed(update, base, update[1]))
            self._ask(worker)

    def _ask(self, worker):
        if Admit(worker) not in self._tell(Asked(worker)):
            self.waits += 1

    def _tell(self, event):
        decisions = self.policy.on(event)
        for decision in decisions:
            match decision:
                case Admit(worker):
                    self._begin(worker)
                case Drop(update):
                    del self._bases[update]
                    self.dropped += 1
                case Apply(updates):
                    self.staleness += [self.version - self._bases.pop(u) for u in updates]
                    self.parts.append(len(updates))
                    self.version += 1
        return decisions

    def _begin(self, worker):
        assert worker not in self._under_way
        self._began += 1
        self._under_way[worker] = (worker, self._began), self.version
        done = self._now + self.seconds(worker)
        heapq.heappush(self._computing, (done, self._began, worker))


def uneven(seed):
    """Speeds that differ between workers by up to 20 times, and from one gradient to the next."""
    source = random.Random(seed)
    usual: dict[str, float] = {}

    def seconds(worker):
        usual.setdefault(worker, source.uniform(0.5, 10))
        return usual[worker] * source.uniform(0.5, 1.5)

    return seconds
