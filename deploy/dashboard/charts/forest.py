"""Differences with their intervals on one shared axis, one in each row of a table."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from manylabel.deploy.dashboard import formats
from manylabel.deploy.dashboard.charts import svg
from manylabel.deploy.dashboard.charts.axes import fitting_ticks
from manylabel.deploy.dashboard.charts.scales import Scale, padded

WIDTH, HEIGHT = 240.0, 22.0
_AXIS_TEXT = 11.0
_ARROW = 5.0
_RADIUS = 3.75
_WIDEST, _FARTHEST = 12.0, 4.0
"""How far the axis reaches from 0: so many half-widths of the widest interval, or times the middle
one of all distances. What lies beyond becomes an arrow, or one run that is far behind would press
all others together."""


@dataclass(frozen=True)
class Mark:
    """A difference and the ends of its interval; None where there is none."""

    value: float
    low: float | None
    high: float | None

    @property
    def ends(self) -> tuple[float, float]:
        """Of the interval; of one that is not there, the difference itself."""
        return (
            self.value if self.low is None else self.low,
            self.value if self.high is None else self.high,
        )

    @property
    def css(self) -> str:
        """Shown to be better, shown to be worse, or not shown."""
        if self.low is not None and self.low > 0:
            return "gain"
        return "loss" if self.high is not None and self.high < 0 else "unshown"


@dataclass(frozen=True)
class Forest:
    """The shared axis of several marks."""

    scale: Scale

    @classmethod
    def of(cls, marks: Sequence[Mark]) -> "Forest":
        """An axis that shows 0 and all marks, but for those that are very far away."""
        half_widths = [
            (m.high - m.low) / 2 for m in marks if m.low is not None and m.high is not None
        ]
        distances = sorted(max(abs(end) for end in mark.ends) for mark in marks)
        middle = distances[(len(distances) - 1) // 2]
        reach = max(_WIDEST * max(half_widths, default=math.inf), _FARTHEST * middle) or math.inf
        ends = [0.0]
        for mark in marks:
            ends += mark.ends
        low, high = (min(max(end, -reach), reach) for end in (min(ends), max(ends)))
        return cls(Scale(*padded(low, high), _ARROW, WIDTH - _ARROW))

    def mark(self, mark: Mark) -> Markup:
        """The cell of one row."""
        zero, middle = self.scale(0.0), HEIGHT / 2
        parts = [svg.line(zero, 0, zero, HEIGHT, "zero")]
        low, high = mark.ends
        if high < self.scale.low:
            parts.append(_arrow(0.0, middle, -1, mark.css))
        elif low > self.scale.high:
            parts.append(_arrow(WIDTH, middle, 1, mark.css))
        else:
            ends = [
                self.scale(min(max(end, self.scale.low), self.scale.high)) for end in (low, high)
            ]
            parts.append(svg.line(ends[0], middle, ends[1], middle, f"range {mark.css}"))
            if self.scale.holds(mark.value):
                x = self.scale(mark.value)
                parts.append(svg.circle(x, middle, _RADIUS, f"mark {mark.css}"))
        return _cell(parts, HEIGHT)

    def axis(self) -> Markup:
        """The axis, for the table's head."""
        parts = []
        ticks = fitting_ticks(self.scale, formats.difference, _AXIS_TEXT, 5)
        for tick, text in ticks:
            x, half = self.scale(tick), svg.text_width(text, _AXIS_TEXT) / 2
            if half <= x <= WIDTH - half:
                parts.append(svg.label(x, HEIGHT - 5, text, anchor="middle"))
        return _cell(parts, HEIGHT)


def _cell(parts: Sequence[str], height: float) -> Markup:
    box = f"0 0 {WIDTH:g} {height:g}"
    return Markup(
        svg.element(
            "svg",
            *parts,
            class_="cell",
            width=WIDTH,
            height=height,
            viewBox=box,
            aria_hidden="true",
        )
    )


def _arrow(tip: float, y: float, direction: int, css: str) -> str:
    back = tip - direction * 2 * _ARROW
    d = f"M{svg.number(back)} {svg.number(y - _ARROW)}L{svg.number(tip)} {svg.number(y)}"
    return svg.element(
        "path", d=f"{d}L{svg.number(back)} {svg.number(y + _ARROW)}", class_=f"range {css}"
    )
