"""The parts that every chart is made of: elements, text, the frame, and the chart itself.

Colours and strokes are classes of static/figure.css, so that a chart follows the page into dark
mode; nothing here is a style attribute, which the content security policy refuses. Lengths are in
units of the viewBox, which are pixels where a chart is shown at its natural width.
"""

import base64
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

from markupsafe import Markup

from manylabel.deploy.dashboard.charts.scales import Scale

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
