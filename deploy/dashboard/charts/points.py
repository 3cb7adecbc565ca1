"""Values over images seen: what lines are drawn through."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from manylabel.deploy.dashboard.charts.scales import Scale
from manylabel.deploy.dashboard.charts.svg import Frame

Numbers = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Points:
    """Values at numbers of images seen; NaN where there is none.

    Attributes:
        low, high: Ends of intervals; empty where there are none.
    """

    samples: NDArray[np.int64]
    values: Numbers
    low: Numbers = field(default_factory=lambda: np.zeros(0))
    high: Numbers = field(default_factory=lambda: np.zeros(0))

    def x_scale(self, frame: Frame) -> Scale:
        """From no images to the most that are seen."""
        return frame.x_scale(0.0, float(self.samples.max()) or 1.0)


def thinned(values: Numbers, most: int) -> list[int]:
    """Places of at most `most` finite values, evenly spread, with the first and the last."""
    there = np.flatnonzero(np.isfinite(values))
    chosen = np.unique(np.linspace(0, len(there) - 1, min(most, len(there))).round().astype(int))
    places: list[int] = there[chosen].tolist()
    return places
