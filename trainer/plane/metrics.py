"""What training tells about itself, gathered over a few updates at a time."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class MetricsRow:
    """Means over the updates since the row before.

    Attributes:
        step: updates applied; samples: records in them.
        loss: mean of the batches' losses, without the L2 term.
        learning_rate: of the last update.
        staleness: updates applied between a gradient's weights and its own application.
        gradient_norm: L2 norm of an update's gradient, without the L2 term, before clipping.
        images_per_second: applied images over wall time.
        gradients: how many were applied; several make an update of synchronous training.
        clipped: updates whose gradient was clipped.
        compensated: updates whose staleness was compensated for.
        dropped: gradients that were dropped, and their records dealt again.
        waited: times that a worker had to wait before it might begin a gradient.
        staleness_counts: (staleness, applied gradients of it), ascending.
    """

    step: int
    samples: int
    loss: float
    learning_rate: float
    staleness: float
    max_staleness: int
    gradient_norm: float
    images_per_second: float
    gradients: int = 0
    clipped: int = 0
    compensated: int = 0
    dropped: int = 0
    waited: int = 0
    staleness_counts: tuple[tuple[int, int], ...] = ()


class MetricsWindow:
    """Collects updates and makes a row of every `updates_per_row`."""

    def __init__(self, updates_per_row: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._updates_per_row = updates_per_row
        self._clock = clock
        self._rows: list[MetricsRow] = []
        self._losses: list[float] = []
        self._staleness: Counter[int] = Counter()
        self._norms: list[float] = []
        self._acted: Counter[str] = Counter()
        self._newest = 0, 0, 0.0
        self._images = 0
        self._began = clock()

    def add(
        self,
        *,
        step: int,
        samples: int,
        images: int,
        loss: float,
        learning_rate: float,
        staleness: Sequence[int],
        gradient_norm: float,
        clipped: bool = False,
        compensated: bool = False,
    ) -> None:
        """Adds one applied update; `staleness` is that of each of its gradients."""
        self._losses.append(loss)
        self._staleness.update(staleness)
        self._acted["clipped"] += clipped
        self._acted["compensated"] += compensated
        self._norms.append(gradient_norm)
        self._images += images
        self._newest = step, samples, learning_rate
        if len(self._losses) >= self._updates_per_row:
            self.finish_row()

    def dropped(self) -> None:
        """Counts a gradient whose records are dealt again, in the row of the next update."""
        self._acted["dropped"] += 1

    def waited(self) -> None:
        """Counts a worker that was told to wait, once however often it asks again meanwhile."""
        self._acted["waited"] += 1

    def finish_row(self) -> None:
        """Makes a row of the updates since the last one, if there are any, however few.

        Without an update there is no loss to tell, and what was dropped or waited stays for the
        next row.
        """
        count = len(self._losses)
        if count == 0:
            return
        now = self._clock()
        step, samples, learning_rate = self._newest
        self._rows.append(
            MetricsRow(
                step=step,
                samples=samples,
                loss=sum(self._losses) / count,
                learning_rate=learning_rate,
                staleness=sum(self._staleness.elements()) / self._staleness.total(),
                max_staleness=max(self._staleness),
                gradient_norm=sum(self._norms) / count,
                images_per_second=self._images / max(now - self._began, 1e-9),
                gradients=self._staleness.total(),
                clipped=self._acted["clipped"],
                compensated=self._acted["compensated"],
                dropped=self._acted["dropped"],
                waited=self._acted["waited"],
                staleness_counts=tuple(sorted(self._staleness.items())),
            )
        )
        self._losses, self._norms = [], []
        self._staleness, self._acted = Counter(), Counter()
        self._images, self._began = 0, now

    def take_rows(self) -> list[MetricsRow]:
        """The rows finished since the last call."""
        rows, self._rows = self._rows, []
        return rows
