"""The axes of charts: rules, round values, as many as have room."""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

from manylabel.deploy.dashboard import formats
from manylabel.deploy.dashboard.charts.scales import Scale
from manylabel.deploy.dashboard.charts.svg import TEXT_SIZE, Frame, label, line, text_width

_POWER = "e"


def y_axis(frame: Frame, scale: Scale, form: Callable[[float], str], *, most: int = 5) -> str:
    """A quiet rule across the plot for each tick, and its value in the left margin."""
    room = abs(scale.end - scale.start)
    gap = frame.text_size * 1.4
    parts = []
    before = math.inf
    ticks = scale.ticks(max(2, min(most, int(room / gap))))
    for tick, text in zip(ticks, tick_texts(ticks, form), strict=True):
        y = scale(tick)
        if before - y >= gap:  # Those of a logarithmic scale are unevenly far apart.
            parts.append(line(frame.left, y, frame.plot_right, y, "rule"))
            parts.append(label(0, y + TEXT_SIZE * 0.35, text, class_="tick y"))
            before = y
    return "".join(parts)


def x_axis(
    frame: Frame,
    scale: Scale,
    form: Callable[[float], str],
    *,
    title: str | None = None,
    most: int = 6,
) -> str:
    """Values below the plot, as many as fit, and below them what they are."""
    y = frame.plot_bottom + frame.text_size + 6
    parts = [line(frame.left, frame.plot_bottom, frame.plot_right, frame.plot_bottom, "axis")]
    for tick, text in fitting_ticks(scale, form, frame.text_size, most):
        half = text_width(text, frame.text_size) / 2
        x = min(max(scale(tick), half), frame.width - half)
        parts.append(label(x, y, text, class_="tick", anchor="middle"))
    if title is not None:
        y += frame.text_size * 1.3
        parts.append(label(frame.plot_right, y, title, class_="tick", anchor="end"))
    return "".join(parts)


def fitting_ticks(
    scale: Scale, form: Callable[[float], str], size: float, most: int
) -> list[tuple[float, str]]:
    """Ticks and their texts, so many that each has a text's distance from the next."""
    for number in range(most, 1, -1):
        ticks = scale.ticks(number)
        texts = tick_texts(ticks, form)
        halves = [text_width(text, size) / 2 for text in texts]
        ends = [(scale(t) - half, scale(t) + half) for t, half in zip(ticks, halves, strict=True)]
        if all(left[1] + size * 0.8 <= right[0] for left, right in pairwise(ends)):
            return list(zip(ticks, texts, strict=True))
    ticks = scale.ticks(1)
    return list(zip(ticks, tick_texts(ticks, form), strict=True))


def tick_texts(ticks: Sequence[float], form: Callable[[float], str]) -> list[str]:
    """The values of an axis in one notation: zeros that all have at their ends say nothing."""
    texts = ["0" if tick == 0 else form(tick) for tick in ticks]
    if any(_POWER in text for text in texts):
        texts = [
            text if tick == 0 else formats.scientific(tick)
            for tick, text in zip(ticks, texts, strict=True)
        ]
    broken = [text for text in texts if "." in text]
    while broken and all(text.endswith(("0", ".")) for text in broken):
        texts = [text[:-1] if "." in text else text for text in texts]
        broken = [text for text in texts if "." in text]
    return texts
