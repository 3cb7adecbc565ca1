"""What training tells about itself, gathered over a few updates at a time."""

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class MetricsRow:
    """Means over the updates since the row before.

    Attributes:
        step: updates applied; samples: records in them.
        loss: mean of the batches' losses, without the L2 term.
        learning_rate: of the last update.
        staleness: updates applied between a gradient's weights and its own application.
        gradient_norm: L2 norm of a gradient, without the L2 term.
        images_per_second: applied images over wall time.
    """

    step: int
    samples: int
    loss: float
    learning_rate: float
    staleness: float
    max_staleness: int
    gradient_norm: float
    images_per_second: float


class MetricsWindow:
    """Collects updates and makes a row of every `updates_per_row`."""

    def __init__(self, updates_per_row: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._updates_per_row = updates_per_row
        self._clock = clock
        self._rows: list[MetricsRow] = []
        self._losses: list[float] = []
        self._staleness: list[int] = []
        self._norms: list[float] = []
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
        staleness: int,
        gradient_norm: float,
    ) -> None:
        """Adds one applied update."""
        self._losses.append(loss)
        self._staleness.append(staleness)
        self._norms.append(gradient_norm)
        self._images += images
        self._newest = step, samples, learning_rate
        if len(self._losses) >= self._updates_per_row:
            self.finish_row()

    def finish_row(self) -> None:
        """Makes a row of the updates since the last one, if there are any, however few."""
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
                staleness=sum(self._staleness) / count,
                max_staleness=max(self._staleness),
                gradient_norm=sum(self._norms) / count,
                images_per_second=self._images / max(now - self._began, 1e-9),
            )
        )
        self._losses, self._staleness, self._norms = [], [], []
        self._images, self._began = 0, now

    def take_rows(self) -> list[MetricsRow]:
        """The rows finished since the last call."""
        rows, self._rows = self._rows, []
        return rows
