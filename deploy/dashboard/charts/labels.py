"""Names inside a plot, where they cover neither a curve nor each other."""

import math
from collections.abc import Sequence
from itertools import pairwise

from manylabel.deploy.dashboard.charts import svg
from manylabel.deploy.dashboard.charts.svg import HALF_TEXT, Frame

_STEP = 4.0
"""Units between points that stand for a line."""

Point = tuple[float, float]


class Labels:
    """Places one text after the other, each where the nearest line is farthest.

    Args:
        curve: corners of the line that must stay seen.
        levels: heights of lines across the plot.

    Attributes:
        placed: the texts, as SVG.
    """

    def __init__(self, frame: Frame, curve: Sequence[Point], levels: Sequence[float] = ()) -> None:
        self._frame = frame
        self._curve = _densely(curve)
        self._levels = levels
        self._boxes: list[tuple[float, float, float]] = []  # left, right, middle's height
        self.placed: list[str] = []

    def of_level(self, y: float, text: str) -> None:
        """The name of a line across the plot: above or below it, or else some lines away."""
        above, below = y - 7, y + HALF_TEXT
        near = (above, below)
        far = [each for k in (1, 2, 3) for each in (above - k * HALF_TEXT, below + k * HALF_TEXT)]
        self._place(text, (near, far), y)

    def at_the_bottom(self, text: str) -> None:
        """What lies below the plot."""
        bottom = self._frame.plot_bottom - 8
        self._place(text, [[bottom - k * HALF_TEXT] for k in range(8)], None)

    def _place(
        self, text: str, heights: Sequence[Sequence[float]], own_level: float | None
    ) -> None:
        """Args: heights: of its baseline, the preferred ones first."""
        frame = self._frame
        left, right = frame.left + 8, frame.plot_right - 4
        text = svg.text_fitting(text, (frame.plot_right - frame.left) * 0.7, HALF_TEXT)
        width = svg.text_width(text, HALF_TEXT)
        levels = [level for level in self._levels if level != own_level]
        best = (-math.inf, left, "start", frame.plot_bottom - 8, left)
        for some in heights:
            for baseline in some:
                if not frame.top + HALF_TEXT <= baseline <= frame.plot_bottom - 4:
                    continue
                for x, anchor, begin in (
                    (left, "start", left),
                    (right, "end", right - width),
                    ((left + right) / 2, "middle", (left + right - width) / 2),
                ):
                    room = self._room(begin, begin + width, baseline - HALF_TEXT / 3, levels)
                    best = max(best, (room, x, anchor, baseline, begin))
            if best[0] > HALF_TEXT * 0.7:
                break
        _, x, anchor, baseline, begin = best
        self._boxes.append((begin, begin + width, baseline - HALF_TEXT / 3))
        self.placed.append(svg.label(x, baseline, text, class_="quiet halo", anchor=anchor))

    def _room(self, left: float, right: float, middle: float, levels: Sequence[float]) -> float:
        """From the middle of a text to the nearest line; negative where it covers a text."""
        for begin, end, height in self._boxes:
            if left < end and begin < right and abs(height - middle) < HALF_TEXT * 1.25:
                return -1.0
        curve = (abs(y - middle) for x, y in self._curve if left - 4 <= x <= right + 4)
        return min((*curve, *(abs(level - middle) for level in levels)), default=self._frame.height)


def _densely(line: Sequence[Point]) -> list[Point]:
    """Points along a line, close to each other."""
    dense = list(line[:1])
    for (x, y), (to_x, to_y) in pairwise(line):
        steps = max(1, math.ceil(math.hypot(to_x - x, to_y - y) / _STEP))
        shares = (step / steps for step in range(1, steps + 1))
        dense += [(x + share * (to_x - x), y + share * (to_y - y)) for share in shares]
    return dense
