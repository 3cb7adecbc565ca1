"""Carries out what an update policy decides: gradients become updates, workers get weights."""

import math
from collections import Counter
from dataclasses import dataclass, field

from manylabel.trainer.plane.metrics import MetricsWindow
from manylabel.trainer.plane.policies.compensation import (
    Compensation,
    DelayCompensation,
    NoCompensation,
)
from manylabel.trainer.plane.policies.events import (
    Admit,
    Apply,
    Asked,
    Drop,
    Event,
    Left,
    Pushed,
    Rejected,
    UpdatePolicy,
)
from manylabel.trainer.plane.protocols import (
    CoordinatorShards,
    GradientReport,
    Snapshot,
    Wait,
)
from manylabel.trainer.plane.schedules import ExponentialDecay, PolyakAverage
from manylabel.trainer.plane.shard import UpdateId
from manylabel.trainer.records.ledger import RecordLedger, Settlement


@dataclass(frozen=True)
class UpdateRules:
    """How large an update is.

    Attributes:
        schedule: the learning rate, by what was applied before the update.
        averaging: of the weights, after each update.
        global_clipnorm: largest L2 norm of an update's gradient, without the L2 term; None: any.
        compensation: of staleness.
    """

    schedule: ExponentialDecay
    averaging: PolyakAverage
    global_clipnorm: float | None = None
    compensation: Compensation = field(default_factory=NoCompensation)


class Updates:
    """The one order of updates, and the gradients and workers that wait for their place in it.

    Args:
        policy: is told what happens, and decides; its version has to be `step` too.
        ledger: where the records of gradients are settled, or given back to be dealt again.
        window: is told of each update, and of what was dropped or had to wait.
        step: updates that were applied before.
    """

    def __init__(
        self,
        policy: UpdatePolicy,
        rules: UpdateRules,
        shards: CoordinatorShards,
        ledger: RecordLedger,
        window: MetricsWindow,
        step: int,
    ) -> None:
        self._policy = policy
        self._rules = rules
        self._shards = shards
        self._ledger = ledger
        self._window = window
        self.step = step
        self.applied: Counter[str] = Counter()  # records, by worker
        self._held: dict[UpdateId, tuple[GradientReport, float]] = {}  # and the sum of squares
        self._admitted: dict[str, Snapshot] = {}
        self._waiting: set[str] = set()
        self._pulled: dict[str, Snapshot] = {}

    @property
    def waiting(self) -> frozenset[str]:
        """Workers that were told to wait, and have not been told anything else yet."""
        return frozenset(self._waiting)

    @property
    def admitted_waiting(self) -> bool:
        """Whether one of `waiting` would not be told to wait any more."""
        return not self._waiting.isdisjoint(self._admitted)

    def push(self, report: GradientReport, squares: float) -> None:
        """Takes a gradient that is staged on every shard, and finite.

        Args:
            squares: its sum of squares.
        """
        self._held[report.update] = report, squares
        self.handle(Pushed(report.update, report.base_version, int(report.positions[0])))

    def reject(self, report: GradientReport) -> None:
        """Forgets a gradient that is not finite; its records are done with."""
        self._shards.discard(report.update)
        self._ledger.settle(report.worker, report.positions, Settlement.REJECTED_GRADIENT)
        self.handle(Rejected(report.update))

    def leave(self, worker: str) -> int:
        """Forgets a worker that ended; how many records it held that are to be dealt again."""
        self._shards.dismiss(worker)
        records = self._ledger.take_back(worker)
        self._held = {
            update: held for update, held in self._held.items() if held[0].worker != worker
        }
        self._admitted.pop(worker, None)
        self._pulled.pop(worker, None)
        self.handle(Left(worker))
        return records

    def weights_for(self, worker: str) -> Snapshot | Wait:
        """The newest weights, as soon as the policy lets the worker have them."""
        if worker not in self._waiting:
            self.handle(Asked(worker))
        snapshot = self._admitted.pop(worker, None)
        if snapshot is not None:
            self._waiting.discard(worker)
            return snapshot
        if worker not in self._waiting:
            self._waiting.add(worker)
            self._window.waited()
        return Wait.WAIT

    def no_weights_for(self, worker: str) -> None:
        """In place of `weights_for`: a worker that is told to stop waits no more."""
        self._waiting.discard(worker)

    def handle(self, event: Event) -> None:
        """Asks the policy, and does what it says."""
        for decision in self._policy.on(event):
            match decision:
                case Apply(updates):
                    self._apply([self._held.pop(update) for update in updates])
                case Drop(update):
                    report, _ = self._held.pop(update)
                    self._drop(report)
                case Admit(worker):
                    self._admit(worker)

    def _admit(self, worker: str) -> None:
        snapshot = self._shards.publish(self.step)
        self._admitted[worker] = snapshot
        if isinstance(self._rules.compensation, DelayCompensation):
            self._pulled[worker] = snapshot

    def _drop(self, report: GradientReport) -> None:
        self._shards.discard(report.update)
        self._ledger.give_back(report.worker, report.positions)
        self._window.dropped()

    def _apply(self, held: list[tuple[GradientReport, float]]) -> None:
        reports = [report for report, _ in held]
        images = [len(report.positions) for report in reports]
        update, norm = self._mean(held, images)
        rules = self._rules
        samples = self._ledger.settled(Settlement.APPLIED)
        rate = rules.schedule.at(samples=samples, steps=self.step)
        staleness = [self.step - report.base_version for report in reports]
        clip = rules.global_clipnorm
        scale = clip / norm if clip is not None and norm > clip else 1.0
        self.step += 1
        self._shards.apply(
            update,
            rate * rules.compensation.rate_factor(max(staleness)),
            rules.averaging.decay_at(self.step),
            scale=scale,
            pulled=self._pulled.pop(reports[0].worker, None),
        )
        for report in reports:
            self._ledger.settle(report.worker, report.positions, Settlement.APPLIED)
            self.applied[report.worker] += len(report.positions)
        losses = (report.loss * count for report, count in zip(reports, images, strict=True))
        self._window.add(
            step=self.step,
            samples=samples + sum(images),
            images=sum(images),
            loss=sum(losses) / sum(images),
            learning_rate=rate,
            staleness=staleness,
            gradient_norm=norm,
            clipped=scale != 1.0,
            compensated=rules.compensation.acts_on(max(staleness)),
        )

    def _mean(
        self, held: list[tuple[GradientReport, float]], images: list[int]
    ) -> tuple[UpdateId, float]:
        """The staged update that is the mean of others, and its norm."""
        if len(held) == 1:
            ((report, squares),) = held
            return report.update, math.sqrt(squares)
        update = ("", self.step)  # no worker's
        parts = [
            (report.update, count / sum(images))
            for (report, _), count in zip(held, images, strict=True)
        ]
        return update, math.sqrt(self._shards.mean(update, parts))
