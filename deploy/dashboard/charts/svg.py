"""The parts that every chart is made of: elements, text, scales, axes, and the chart itself.

Colours and strokes are classes of static/figure.css, so that a chart follows the page into dark
mode; nothing here is a style attribute, which the content security policy refuses. Lengths are in
units of the viewBox, which are pixels where a chart is shown at its natural width.
"""

import base64
import hashlib
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from html import escape
from itertools import pairwise
from pathlib import Path

from markupsafe import Markup

TEXT_SIZE = 12.0
"""Pixels of text in a chart at its natural width; figure.css has the same."""

# Widths in units of the text's size, of DejaVu Sans: the widest of the system fonts that browsers
# take, so that text that fits in it fits everywhere.
_NARROW, _WIDE = frozenset("ijlI.,:;'|!()[]f- "), frozenset("mwMW@%—")
_NARROW_WIDTH, _PLAIN_WIDTH, _CAPITAL_WIDTH, _WIDE_WIDTH = 0.4, 0.64, 0.74, 0.98

_DECIMALS = 1
_PER_UNIT = 10**_DECIMALS
_STYLE = (Path(__file__).parent.parent / "static" / "figure.css").read_text("utf-8")
STYLE_DIGEST = f"sha256-{base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()}"
"""Names the style sheet inside a saved chart to a content security policy."""

Attribute = str | float | None


def element(tag: str, /, *children: str, **attributes: Attribute) -> str:
    """One element as text. Children are markup; attribute values are escaped.

    Args:
        children: Elements, or text that `text_of` has escaped.
        attributes: `class_` is "class", `stroke_width` is "stroke-width"; None leaves one out.
    """
    words = [tag]
    for name, value in attributes.items():
        if value is not None:
            key = name.rstrip("_").replace("_", "-")
            text = value if isinstance(value, str) else number(value)
            words.append(f'{key}="{escape(text)}"')
    opening = " ".join(words)
    return f"<{opening}>{''.join(children)}</{tag}>" if children else f"<{opening}/>"


def text_of(text: str) -> str:
    """Text as a child of an element."""
    return escape(text, quote=False)


def number(value: float) -> str:
    """A coordinate, as short as it can be: a page has thousands."""
    text = f"{value:.{_DECIMALS}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def text_width(text: str, size: float = TEXT_SIZE) -> float:
    """At least the width of a line of text, in the units of `size`."""
    return size * sum(map(_character_width, text))


def text_fitting(text: str, width: float, size: float = TEXT_SIZE) -> str:
    """The text, cut with an ellipsis where it is wider than `width`."""
    if text_width(text, size) <= width:
        return text
    while text and text_width(f"{text}…", size) > width:
        text = text[:-1]
    return f"{text.rstrip()}…"


def label(
    x: float, y: float, text: str, *, class_: str | None = None, anchor: str | None = None
) -> str:
    """Text on a baseline at y; `anchor` is SVG's text-anchor: start (default), middle, end."""
    return element("text", text_of(text), x=x, y=y, class_=class_, text_anchor=anchor)


def line(x1: float, y1: float, x2: float, y2: float, class_: str) -> str:
    return element("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=class_)


def circle(x: float, y: float, radius: float, class_: str) -> str:
    return element("circle", cx=x, cy=y, r=radius, class_=class_)


def diamond(x: float, y: float, radius: float, class_: str) -> str:
    return element("path", d=_diamond(x, y, radius), class_=class_)


def polyline(points: Iterable[tuple[float, float]], class_: str) -> str:
    """A line through points, as one element."""
    return element("path", d=_through(points), class_=class_, fill="none")


def area(
    upper: Sequence[tuple[float, float]], lower: Sequence[tuple[float, float]], class_: str
) -> str:
    """What lies between two lines of the same x values, left to right."""
    return element("path", d=f"{_through([*upper, *reversed(lower)])}Z", class_=class_)


def dots(points: Iterable[tuple[float, float]], class_: str) -> str:
    """Round dots as one element, however many there are: strokes without length, round ends."""
    return element(
        "path", d="".join(f"M{number(x)} {number(y)}h0" for x, y in points), class_=class_
    )


@dataclass(frozen=True)
class Scale:
    """Maps values of [low, high] to positions; `start` is where `low` lies.

    Attributes:
        logarithmic: Equal factors are equally long; low must be positive then.
    """

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool = False

    def __call__(self, value: float) -> float:
        low, high = self._place(self.low), self._place(self.high)
        share = (self._place(value) - low) / (high - low) if high > low else 0.5
        return self.start + share * (self.end - self.start)

    def holds(self, value: float) -> bool:
        """Whether a value lies within the scale's ends."""
        return self.low <= value <= self.high

    def ticks(self, most: int) -> list[float]:
        """Round values within the ends, at most `most` of them."""
        ticks = _logarithmic_ticks if self.logarithmic else round_values
        return ticks(self.low, self.high, most)

    def _place(self, value: float) -> float:
        return math.log(value) if self.logarithmic else value


def round_values(low: float, high: float, most: int) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten within [low, high], at most `most` (>= 2)."""
    if not high > low:
        return [low]
    step = 10.0 ** math.floor(math.log10((high - low) / max(most, 1)))
    for factor in (1, 2, 5, 10, 20, 50, 100):
        first, last = (
            math.ceil(low / (step * factor) - 1e-9),
            math.floor(high / (step * factor) + 1e-9),
        )
        if last - first + 1 <= most:
            return [place * step * factor for place in range(first, last + 1)]
    return []


def padded(low: float, high: float, share: float = 0.06) -> tuple[float, float]:
    """A range a little wider than its values; one of no width gets some."""
    room = (high - low) * share or abs(high) * share or 1.0
    return low - room, high + room


def spread(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Positions at least `gap` apart, each near the one wanted, within [low, high] if they fit.

    For labels beside lines: two that would cover each other move apart.
    """
    order = sorted(range(len(wanted)), key=lambda index: wanted[index])
    placed = [0.0] * len(wanted)
    before = -math.inf
    for index in order:
        before = placed[index] = max(wanted[index], before + gap, low)
    after = math.inf
    for index in reversed(order):
        after = placed[index] = min(placed[index], after - gap, high)
    return placed


@dataclass(frozen=True)
class Frame:
    """The size of a chart, and where in it values are drawn.

    Attributes:
        width: Natural width. A wide chart is shown smaller on a telephone, with larger text.
        text_size: The largest text that must fit, in units of the viewBox.
        left, right, top, bottom: Margins.
    """

    width: float
    height: float
    text_size: float = TEXT_SIZE
    left: float = 0.0
    right: float = 8.0
    top: float = 10.0
    bottom: float = 28.0

    @property
    def plot_right(self) -> float:
        return self.width - self.right

    @property
    def plot_bottom(self) -> float:
        return self.height - self.bottom

    def x_scale(self, low: float, high: float, *, logarithmic: bool = False) -> Scale:
        return Scale(low, high, self.left, self.plot_right, logarithmic)

    def y_scale(self, low: float, high: float, *, logarithmic: bool = False) -> Scale:
        return Scale(low, high, self.plot_bottom, self.top, logarithmic)


HALF, THIRD, SIXTH = 560.0, 360.0, 176.0
"""Natural widths: half, a third and a sixth of the page."""
HALF_TEXT = 17.5
"""Text of a half-page chart on a telephone, in units of its viewBox; figure.css has the same."""


def y_axis(frame: Frame, scale: Scale, form: Callable[[float], str], *, most: int = 5) -> str:
    """A quiet rule across the plot for each tick, and its value in the left margin."""
    room = abs(scale.end - scale.start)
    gap = frame.text_size * 1.4
    parts = []
    before = math.inf
    for tick in scale.ticks(max(2, min(most, int(room / gap)))):
        y = scale(tick)
        if before - y >= gap:  # Those of a logarithmic scale are unevenly far apart.
            parts.append(line(frame.left, y, frame.plot_right, y, "rule"))
            parts.append(label(0, y + TEXT_SIZE * 0.35, form(tick), class_="tick"))
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
    for number_of_ticks in range(most, 1, -1):
        ticks = [(tick, form(tick)) for tick in scale.ticks(number_of_ticks)]
        ends = [
            (scale(tick) - text_width(text, size) / 2, scale(tick) + text_width(text, size) / 2)
            for tick, text in ticks
        ]
        if all(left[1] + size * 0.8 <= right[0] for left, right in pairwise(ends)):
            return ticks
    return [(tick, form(tick)) for tick in scale.ticks(1)]


@dataclass(frozen=True)
class Chart:
    """A chart as text.

    Attributes:
        name: Its file's name without ".svg", and its id on a page.
        title: What it shows, in few words.
        description: What there is to see in it, for those who do not: the main numbers.
        frame: Its size.
        body: Elements.
        data: Attributes of the figure for page.js, such as the positions of points.
    """

    name: str
    title: str
    description: str
    frame: Frame
    body: str
    data: dict[str, str] = field(default_factory=dict)

    def inline(self) -> Markup:
        """As part of a page, which names the colours."""
        return Markup(self._svg(self.body))

    def document(self) -> str:
        """As a file of its own, which brings its colours along."""
        background = element("rect", width="100%", height="100%", class_="paper")
        return self._svg(element("style", _STYLE), background, self.body) + "\n"

    def __html__(self) -> str:
        return self.inline()

    def _svg(self, *content: str) -> str:
        ids = f"{self.name}-title", f"{self.name}-description"
        width, height = number(self.frame.width), number(self.frame.height)
        shape = "chart half" if self.frame.width == HALF else "chart"
        return element(
            "svg",
            element("title", text_of(self.title), id=ids[0]),
            element("desc", text_of(self.description), id=ids[1]),
            *content,
            xmlns="http://www.w3.org/2000/svg",
            viewBox=f"0 0 {width} {height}",
            width=width,
            height=height,
            class_=shape,
            role="img",
            aria_labelledby=" ".join(ids),
            **{f"data_{key}": value for key, value in self.data.items()},
        )


def _character_width(character: str) -> float:
    if character in _NARROW:
        return _NARROW_WIDTH
    if character in _WIDE or ord(character) >= 0x2E80:  # Chinese, Japanese, Korean and above.
        return _WIDE_WIDTH
    return _CAPITAL_WIDTH if character.isupper() else _PLAIN_WIDTH


def _through(points: Iterable[tuple[float, float]]) -> str:
    """A path's data: a start, then steps between rounded positions, which are short and add up."""
    parts: list[str] = []
    before = 0, 0
    for x, y in points:
        place = round(x * _PER_UNIT), round(y * _PER_UNIT)
        if parts:
            parts.append(_step(place[0] - before[0], place[1] - before[1]))
        else:
            parts.append(f"M{number(x)} {number(y)}l")
        before = place
    return "".join(parts).replace("l ", "l").rstrip("l")


def _step(x: int, y: int) -> str:
    """One step in tenths, with a space only where digits would touch."""
    return "".join(text if text.startswith("-") else f" {text}" for text in map(_tenths, (x, y)))


def _tenths(value: int) -> str:
    return (
        number(value / _PER_UNIT).replace("0.", ".", 1)
        if abs(value) < _PER_UNIT
        else number(value / _PER_UNIT)
    )


def _diamond(x: float, y: float, r: float) -> str:
    return f"{_through([(x, y - r), (x + r, y), (x, y + r), (x - r, y)])}Z"


def _logarithmic_ticks(low: float, high: float, most: int) -> list[float]:
    """Powers of ten within [low, high]; with few of those also 2 and 5 times them, or any round
    values where not even three of these lie within."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    powers = [10.0**power for power in range(first, last + 1)]
    for factors in ((1,), (1, 2, 5)):
        found = [power * factor for power in powers for factor in factors]
        found = [
            value for value in found if low <= value * (1 + 1e-9) and value <= high * (1 + 1e-9)
        ]
        if len(found) > 2:
            return found[:: math.ceil(len(found) / most)]
    return round_values(low, high, most)
