"""Charts of what differs between two evaluations: where it comes from, and how sure that is."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from manylabel.deploy.dashboard import formats
from manylabel.deploy.dashboard.charts.axes import fitting_ticks, x_axis
from manylabel.deploy.dashboard.charts.scales import Scale, padded
from manylabel.deploy.dashboard.charts.svg import (
    HALF,
    HALF_TEXT,
    TEXT_SIZE,
    Chart,
    Frame,
    circle,
    diamond,
    element,
    label,
    line,
    number,
    text_fitting,
    text_of,
    text_width,
)
from manylabel.eval.statistics.differences import Difference

_ROW = 31.0  # A row of a forest: its text on a telephone, and air.
_MARK = 4.5
_BAR_WIDTH, _BAR_HEIGHT = 120.0, 9.0
_LEAST_BAR = 1.5  # A bar that is there is seen.
_SHARES_HEIGHT = 26.0


@dataclass(frozen=True)
class ForestRow:
    """A difference with its interval, as one row of a forest.

    Attributes:
        name: Of what.
        shown: Whether it is more than chance; drawn hollow and grey if not.
        detail: More about it, told in the description and where the pointer rests.
        total: Of all the others: drawn as a diamond below a rule.
    """

    name: str
    difference: Difference
    shown: bool
    detail: str = ""
    total: bool = False


def forest(name: str, title: str, rows: Sequence[ForestRow]) -> Chart:
    """Differences below each other on one axis through 0, each with its value at the right.

    Args:
        name: Of the chart's file, and its id on a page.
        rows: At least one.
    """
    lefts, values = (
        [row.name for row in rows],
        [formats.difference(row.difference.value) for row in rows],
    )
    value_room = max(text_width(value, HALF_TEXT) for value in values)
    frame = Frame(
        width=HALF,
        height=12 + _ROW * len(rows) + 34,
        text_size=HALF_TEXT,
        left=max(text_width(left, HALF_TEXT) for left in lefts) + 14,
        right=value_room + 14,
        top=12,
        bottom=34,
    )
    scale = frame.x_scale(*_reach(rows))
    body = [line(scale(0), frame.top, scale(0), frame.plot_bottom, "champion")]
    for place, row in enumerate(rows):
        y = frame.top + _ROW * (place + 0.5)
        if row.total and place:
            body.append(line(0, y - _ROW / 2, frame.width, y - _ROW / 2, "rule"))
        body.append(_forest_row(row, frame, scale, y))
    body.append(_difference_axis(frame, scale))
    told = "; ".join(f"{row.name}: {in_words(row.difference)}{_shown(row)}" for row in rows)
    return Chart(name, title, f"{told}.", frame, "".join(body))


def shares(name: str, title: str, better: int, equal: int, worse: int) -> Chart:
    """One bar cut into the images that gained, did not change, and lost."""
    frame = Frame(width=HALF, height=76, text_size=HALF_TEXT, right=0, top=0, bottom=50)
    counted = max(better + equal + worse, 1)
    parts = [("better", better, "gain"), ("equal", equal, "plain"), ("worse", worse, "loss")]
    body, x = [], 0.0
    for _, images, colour in parts:
        width = frame.width * images / counted
        if width > 0:
            gap = 2 if x + width < frame.width else 0
            body.append(_rectangle(x, 0, max(width - gap, 0.5), _SHARES_HEIGHT, colour))
        x += width
    for (word, images, _), anchor, at in zip(
        parts, ("start", "middle", "end"), (0.0, frame.width / 2, frame.width), strict=True
    ):
        share = formats.percent(images / counted)
        body.append(label(at, 47, f"{share} {word}", class_="strong", anchor=anchor))
        body.append(label(at, 70, formats.count(images), class_="quiet", anchor=anchor))
    told = ", ".join(f"{formats.plural(images, 'image')} {word}" for word, images, _ in parts)
    return Chart(name, title, f"{told}.", frame, "".join(body))


def contribution_bar(value: float, largest: float) -> Markup:
    """A bar as long as a contribution is large, for a cell beside the number that says it.

    Args:
        value: Of the row.
        largest: The largest size of all rows, whose bar is the longest.
    """
    width = _BAR_WIDTH * abs(value) / largest if largest else 0.0
    colour = "gain" if value > 0 else "loss"
    return Markup(
        element(
            "svg",
            _rectangle(0, 0, max(width, _LEAST_BAR), _BAR_HEIGHT, colour) if value else "",
            class_="cell",
            viewBox=f"0 0 {number(_BAR_WIDTH)} {number(_BAR_HEIGHT)}",
            width=_BAR_WIDTH,
            height=_BAR_HEIGHT,
            aria_hidden="true",
        )
    )


@dataclass(frozen=True)
class LabelHistory:
    """The average precision of a label over the checkpoints of a run.

    Attributes:
        label: Its name.
        run: The run's.
        points: (step, average precision), by step; at least one.
        candidate: Step of the checkpoint that is judged; None if it is of another run.
        reference: Average precision at the reference, and what the reference is called.
        images: Held-out images with the label.
    """

    label: str
    run: str
    points: Sequence[tuple[int, float]]
    candidate: int | None
    reference: tuple[float, str] | None
    images: int


def label_history(name: str, history: LabelHistory) -> Chart:
    """Average precision over steps; the reference dashed, the candidate a filled mark."""
    values = [value for _, value in history.points]
    against = [] if history.reference is None else [history.reference[0]]
    low, high = padded(min(values + against), max(values + against), 0.12)
    frame = Frame(width=HALF, height=250, text_size=HALF_TEXT, left=60, right=24, top=34, bottom=36)
    steps = [step for step, _ in history.points]
    x = frame.x_scale(steps[0], steps[-1]) if len(steps) > 1 else frame.x_scale(0, 2 * steps[0])
    y = frame.y_scale(max(low, 0.0), min(high, 1.0))
    body = [_precision_axis(frame, y)]
    places = [(x(step), y(value)) for step, value in history.points]
    if history.reference is not None:
        at = y(history.reference[0])
        body.append(line(frame.left, at, frame.plot_right, at, "champion"))
    body.append(_line_or_dot(places))
    if history.candidate in steps:
        body.append(circle(*places[steps.index(history.candidate)], _MARK, "mark gain"))
    if history.reference is not None:
        body.append(_reference_name(frame, y, places, *history.reference))
    body.append(x_axis(frame, x, formats.samples_tick, most=5))
    return Chart(
        name,
        "Average precision over the checkpoints",
        _history_told(history),
        frame,
        "".join(body),
    )


def in_words(difference: Difference) -> str:
    """A difference and its interval: +0.0096 (+0.0065 to +0.0127)."""
    value = formats.difference(difference.value)
    if difference.low is None or difference.high is None:
        return value
    return f"{value} ({formats.interval(difference.low, difference.high, formats.difference)})"


def _reach(rows: Sequence[ForestRow]) -> tuple[float, float]:
    ends = [0.0]
    for row in rows:
        found = (row.difference.low, row.difference.value, row.difference.high)
        ends.extend(end for end in found if end is not None)
    low, high = padded(min(ends), max(ends), 0.04)
    # Differences of exactly 0 have no width: the axis gets one on which ±0 is not all there is.
    return (low, high) if max(ends) > min(ends) else (-0.001, 0.001)


def _difference_axis(frame: Frame, scale: Scale) -> str:
    """Ticks below the rows; they may stand below the values at the right as well."""
    y = frame.plot_bottom + frame.text_size + 6
    parts = [line(frame.left, frame.plot_bottom, frame.plot_right, frame.plot_bottom, "axis")]
    for tick, text in fitting_ticks(scale, formats.difference, frame.text_size, 5):
        parts.append(label(scale(tick), y, text, class_="tick", anchor="middle"))
    return "".join(parts)


def _forest_row(row: ForestRow, frame: Frame, scale: Scale, y: float) -> str:
    difference, colour = row.difference, _colour(row)
    baseline = y + TEXT_SIZE * 0.35
    strong = "strong" if row.total else None
    parts = [label(0, baseline, row.name, class_=strong)]
    if difference.low is not None and difference.high is not None:
        parts.append(line(scale(difference.low), y, scale(difference.high), y, f"range {colour}"))
    shape = diamond if row.total else circle
    parts.append(shape(scale(difference.value), y, _MARK + 1.5 * row.total, f"mark {colour}"))
    value = formats.difference(difference.value)
    parts.append(label(frame.width, baseline, value, class_=strong, anchor="end"))
    told = f"{row.name}: {in_words(difference)}{_shown(row)}"
    detail = f"; {row.detail}" if row.detail else ""
    return element("g", element("title", text_of(f"{told}{detail}")), *parts)


def _colour(row: ForestRow) -> str:
    if not row.shown:
        return "unshown"
    return "gain" if row.difference.value > 0 else "loss"


def _shown(row: ForestRow) -> str:
    return "" if row.shown else ", not shown"


def _rectangle(x: float, y: float, width: float, height: float, colour: str) -> str:
    return element("rect", x=x, y=y, width=width, height=height, class_=f"bar {colour}")


def _precision_axis(frame: Frame, scale: Scale) -> str:
    parts = [label(0, 15, "AP", class_="tick")]
    ticks = scale.ticks(4)
    digits = max(len(f"{tick:.4g}".partition(".")[2]) for tick in ticks)
    for tick in ticks:
        at = scale(tick)
        parts.append(line(frame.left, at, frame.plot_right, at, "rule"))
        parts.append(label(0, at + TEXT_SIZE * 0.35, f"{tick:.{digits}f}", class_="tick"))
    return "".join(parts)


def _reference_name(
    frame: Frame, scale: Scale, places: Sequence[tuple[float, float]], value: float, name: str
) -> str:
    """Beside the reference's line, at the end from which the run is further away."""
    at, middle = scale(value), (frame.left + frame.plot_right) / 2
    # Above its line, or below it where the top of the plot is too near.
    baseline = at - 6 if at - frame.top > HALF_TEXT else at + HALF_TEXT
    room = [
        min((abs(y - at) for x, y in places if (x < middle) == left), default=frame.height)
        for left in (True, False)
    ]
    end, anchor = (frame.left, "start") if room[0] > room[1] else (frame.plot_right, "end")
    text = text_fitting(
        f"{name} {formats.average_precision(value)}", frame.plot_right - frame.left, HALF_TEXT
    )
    return label(end, baseline, text, class_="quiet halo", anchor=anchor)


def _line_or_dot(places: Sequence[tuple[float, float]]) -> str:
    if len(places) == 1:
        return circle(*places[0], _MARK, "mark gain")
    points = "L".join(f"{number(px)} {number(py)}" for px, py in places)
    return element("path", d=f"M{points}", class_="line", fill="none")


def _history_told(history: LabelHistory) -> str:
    values = [value for _, value in history.points]
    (first, start), (last, end) = history.points[0], history.points[-1]
    told = (
        f"{history.label} in {history.run}: {formats.average_precision(start)} at step {first:,}, "
        f"{formats.average_precision(end)} at step {last:,}, at most "
        f"{formats.average_precision(max(values))}; over {formats.plural(history.images, 'image')}"
    )
    if history.reference is None:
        return f"{told}."
    value, name = history.reference
    return f"{told}; {name} has {formats.average_precision(value)}."
