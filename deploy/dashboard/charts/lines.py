"""Values over images seen: of evaluations with their intervals, and of training."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from manylabel.deploy.dashboard import formats
from manylabel.deploy.dashboard.charts import svg
from manylabel.deploy.dashboard.charts.svg import HALF, HALF_TEXT, SIXTH, THIRD, Chart, Frame

Numbers = NDArray[np.float64]

_WIDE = Frame(HALF, 320, HALF_TEXT, left=82, right=12, top=14, bottom=56)
_NARROW = Frame(THIRD, 166, left=58, right=6, top=10, bottom=42)
_SMALL = Frame(SIXTH, 130, left=36, right=4, top=10, bottom=24)
_IN_NARROW, _IN_SMALL = 120, 60
"""Points of a line in a small chart: one for two or three units."""
_FOCUS = 9.0
"""Widths of the best evaluation's interval that the chart of differences reaches below it."""
MOST_MARKS = 60
"""Evaluations whose verdicts have room for a mark each, 8 units apart."""


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


def difference_chart(points: Points, promoted: Sequence[int], champion: str) -> Chart:
    """[A] The difference from the champion over images seen, in reach of the best's interval.

    Args:
        promoted: Places of evaluations whose checkpoint was promoted.
        champion: Its name.
    """
    there = np.flatnonzero(np.isfinite(points.values))
    best = int(there[np.argmax(points.values[there])])
    x = _x_scale(_WIDE, points.samples)
    low, high = np.fmin(points.low, points.values), np.fmax(points.high, points.values)
    width = max(float(high[best] - low[best]), 1e-6)
    bottom = min(0.0, max(float(np.nanmin(low)), min(0.0, float(low[best])) - _FOCUS * width))
    y = _WIDE.y_scale(*svg.padded(bottom, max(0.0, float(np.nanmax(high)))))
    below = int(np.sum(points.values[there] < y.low))

    def at(values: Numbers, places: Sequence[int]) -> list[tuple[float, float]]:
        return [(x(points.samples[place]), y(values[place])) for place in places]

    inside = [
        svg.area(at(high, there.tolist()), at(low, there.tolist()), "band"),
        svg.line(_WIDE.left, y(0), _WIDE.plot_right, y(0), "champion"),
        svg.polyline(at(points.values, there.tolist()), "line"),
    ]
    marked = there.tolist() if len(there) <= MOST_MARKS else []
    for css, places in _by_verdict(points, marked).items():
        inside.append(svg.dots(at(points.values, places), f"dots {css}"))
        if css == "unshown":
            inside.append(svg.dots(at(points.values, places), "dots inner"))
    inside += [
        svg.diamond(*at(points.values, [place])[0], 6, "promoted")
        for place in promoted
        if place in there
    ]
    body = [
        svg.y_axis(_WIDE, y, formats.difference_tick),
        svg.x_axis(_WIDE, x, formats.samples_tick, title="images seen"),
        _clipped(_WIDE, inside),
        _level_label(y(0), f"champion {champion}", at(points.values, there.tolist())),
    ]
    if below:
        text = f"{formats.plural(below, 'earlier evaluation')} below"
        body.append(svg.label(_WIDE.left + 8, _WIDE.plot_bottom - 8, text, class_="quiet halo"))
    return Chart(
        "difference",
        "Difference from the champion",
        f"The best of {formats.plural(len(there), 'evaluation')} differs by "
        f"{formats.difference(points.values[best])}, 95% interval "
        f"{formats.interval(low[best], high[best], formats.difference)}; the last one by "
        f"{formats.difference(points.values[there[-1]])}.",
        _WIDE,
        "".join(body),
        _cursor(x, "difference difference_interval"),
    )


def map_chart(
    points: Points,
    baseline: float,
    undistinguished: NDArray[np.bool_],
    promoted: Sequence[int],
    champion: float | None,
) -> Chart:
    """[B] The weighted MAP over images seen, with what it is held against.

    Args:
        baseline: Of ranking every image by training frequency.
        undistinguished: bool [S], cannot be told from the best: drawn thick.
        promoted: Places of evaluations whose checkpoint was promoted.
        champion: Its value on the same held-out images, if it is another run's.
    """
    there = np.flatnonzero(np.isfinite(points.values))
    x = _x_scale(_WIDE, points.samples)
    names = [("frequency baseline", baseline), ("champion", champion)]
    held = [(name, value) for name, value in names if value is not None and np.isfinite(value)]
    levels = [value for _, value in held]
    bottom = min(*levels, float(np.nanmin(points.values)), np.inf)
    top = max(*levels, float(np.nanmax(np.fmax(points.high, points.values))), -np.inf)
    y = _WIDE.y_scale(*svg.padded(bottom, top, 0.1))

    def at(values: Numbers, places: NDArray[np.int64]) -> list[tuple[float, float]]:
        return [(x(points.samples[place]), y(values[place])) for place in places]

    line = at(points.values, there)
    band = there[np.isfinite(points.low[there]) & np.isfinite(points.high[there])]
    parts = [
        svg.y_axis(_WIDE, y, formats.map_value),
        svg.x_axis(_WIDE, x, formats.samples_tick, title="images seen"),
    ]
    for name, value in held:
        css = "champion" if name == "champion" else "baseline"
        parts.append(svg.line(_WIDE.left, y(value), _WIDE.plot_right, y(value), css))
    if len(band):
        parts.append(svg.area(at(points.high, band), at(points.low, band), "band"))
    parts.append(svg.polyline(line, "line"))
    stretches = _stretches(line, undistinguished[there])
    parts += [svg.polyline(part, "line thick") for part in stretches]
    marked = np.intersect1d(there, np.array(promoted, dtype=np.int64))
    parts += [svg.diamond(*place, 6, "promoted") for place in at(points.values, marked)]
    parts += _line_labels([(name, y(value)) for name, value in held])
    best = int(there[np.argmax(points.values[there])])
    return Chart(
        "map",
        "Weighted MAP over training",
        f"From {formats.map_value(points.values[0])} to {formats.map_value(points.values[-1])}; "
        f"the best of {formats.plural(len(points.values), 'evaluation')} is "
        f"{formats.map_value(points.values[best])}, the frequency baseline "
        f"{formats.map_value(baseline)}. {int(undistinguished.sum())} cannot be told from the "
        "best.",
        _WIDE,
        "".join(parts),
        _cursor(x, "value interval"),
    )


def band_chart(name: str, title: str, points: Points, baseline: float, top: float) -> Chart:
    """[C] One band of label frequency; `top` is the end of the axis that all of them share."""
    x = _x_scale(_SMALL, points.samples)
    y = _SMALL.y_scale(0, top)
    line = [(x(points.samples[p]), y(points.values[p])) for p in _thinned(points.values, _IN_SMALL)]
    body = [
        svg.y_axis(_SMALL, y, _axis_share, most=4),
        svg.x_axis(_SMALL, x, formats.samples_tick, most=3),
        svg.polyline(line, "line"),
    ]
    if np.isfinite(baseline):
        body.append(svg.line(_SMALL.left, y(baseline), _SMALL.plot_right, y(baseline), "baseline"))
    if line:
        body.append(svg.circle(*line[-1], 2.5, "gain"))
    first, last = points.values[0], points.values[-1]
    return Chart(
        name,
        title,
        f"Weighted mean average precision of these labels: from {formats.average_precision(first)} "
        f"to {formats.average_precision(last)}; the frequency baseline is "
        f"{formats.average_precision(baseline)}.",
        _SMALL,
        "".join(body),
    )


def training_chart(
    name: str,
    title: str,
    points: Points,
    *,
    form: Callable[[float], str] = formats.measure,
    logarithmic: bool = False,
    also: Numbers | None = None,
    names: tuple[str, str] = ("", ""),
) -> Chart | None:
    """One quantity of training over images seen; None where there are no two values of it.

    Args:
        logarithmic: Equal factors are equally high; all values are positive then.
        also: A second, fainter line on the same axis.
        names: Of the two lines, where there are two.
    """
    frame = _NARROW
    if also is not None:
        frame = replace(frame, right=8 + max(map(svg.text_width, names)))
    values = points.values if also is None else np.concatenate([points.values, also])
    values = values[np.isfinite(values)]
    if np.isfinite(points.values).sum() < 2:
        return None
    low, high = float(values.min()), float(values.max())
    if logarithmic and low > 0:
        ends = low / 1.15, high * 1.15
    else:
        logarithmic = False
        ends = svg.padded(0.0 if 0 <= low < high / 2 else low, high)
        ends = max(ends[0], 0.0) if low >= 0 else ends[0], ends[1]
    x, y = _x_scale(frame, points.samples), frame.y_scale(*ends, logarithmic=logarithmic)

    def line(ys: Numbers) -> list[tuple[float, float]]:
        return [(x(points.samples[p]), y(ys[p])) for p in _thinned(ys, _IN_NARROW)]

    body = [
        svg.y_axis(frame, y, form, most=4),
        svg.x_axis(frame, x, formats.samples_tick, title="images seen", most=4),
    ]
    if also is not None:
        body.append(svg.polyline(line(also), "line faint"))
    body.append(svg.polyline(line(points.values), "line"))
    if also is not None:
        middles = [y(float(np.nanmedian(each))) + 4 for each in (points.values, also)]
        placed = svg.spread(middles, svg.TEXT_SIZE * 1.3, frame.top + 8, frame.plot_bottom - 4)
        body += [
            svg.label(frame.plot_right + 6, place, text, class_="quiet")
            for place, text in zip(placed, names, strict=True)
        ]
    return Chart(
        name,
        title,
        f"From {form(points.values[0])} to {form(points.values[-1])}, between {form(low)} and "
        f"{form(high)}.",
        frame,
        "".join(body),
    )


def _thinned(values: Numbers, most: int) -> list[int]:
    """Places of at most `most` finite values, evenly spread, with the first and the last."""
    there = np.flatnonzero(np.isfinite(values))
    chosen = np.unique(np.linspace(0, len(there) - 1, min(most, len(there))).round().astype(int))
    places: list[int] = there[chosen].tolist()
    return places


def _cursor(x: svg.Scale, tells: str) -> dict[str, str]:
    """What page.js must know to tell of the evaluation below the pointer.

    Args:
        tells: Keys of two columns of the evaluations' table, a value and its interval.
    """
    numbers = {"left": x.start, "right": x.end, "top": _WIDE.top, "bottom": _WIDE.plot_bottom}
    places = {name: svg.number(value) for name, value in numbers.items()}
    return {"cursor": "evaluations", "tells": tells, "most": f"{x.high:.0f}", **places}


def _x_scale(frame: Frame, samples: NDArray[np.int64]) -> svg.Scale:
    return frame.x_scale(0.0, float(samples.max()) or 1.0)


def _axis_share(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if value else "0"


def _by_verdict(points: Points, places: Sequence[int]) -> dict[str, list[int]]:
    """Places of evaluations shown to be better, worse, and neither."""
    found: dict[str, list[int]] = {"unshown": [], "loss": [], "gain": []}
    for place in places:
        css = "gain" if points.low[place] > 0 else "loss" if points.high[place] < 0 else "unshown"
        found[css].append(place)
    return {css: there for css, there in found.items() if there}


def _stretches(
    line: Sequence[tuple[float, float]], chosen: NDArray[np.bool_]
) -> list[list[tuple[float, float]]]:
    """The chosen points in stretches without gaps; a lone point is a dot."""
    found: list[list[tuple[float, float]]] = []
    before = False
    for point, is_chosen in zip(line, chosen.tolist(), strict=True):
        if is_chosen:
            if not before:
                found.append([])
            found[-1].append(point)
        before = is_chosen
    return [part if len(part) > 1 else part * 2 for part in found]


def _clipped(frame: Frame, parts: Sequence[str]) -> str:
    """Parts of which nothing is seen outside the plot: an inner SVG cuts what leaves it."""
    width, height = frame.plot_right - frame.left + 8, frame.plot_bottom - frame.top + 8
    x, y = frame.left - 4, frame.top - 8
    box = " ".join(svg.number(each) for each in (x, y, width, height))
    return svg.element("svg", *parts, x=x, y=y, width=width, height=height, viewBox=box)


def _level_label(y: float, text: str, line: Sequence[tuple[float, float]]) -> str:
    """The name of a level line, at either end, above or below it: where the data are farthest."""
    text = svg.text_fitting(text, (_WIDE.plot_right - _WIDE.left) * 0.7, HALF_TEXT)
    width, half = svg.text_width(text, HALF_TEXT), HALF_TEXT / 2
    places = [
        (middle, anchor, baseline)
        for baseline in (y - 7, y + HALF_TEXT)
        for middle, anchor in (
            (_WIDE.left + 8 + width / 2, "start"),
            (_WIDE.plot_right - 4 - width / 2, "end"),
        )
        if _WIDE.top + HALF_TEXT <= baseline <= _WIDE.plot_bottom - 4
    ]

    def clearance(place: tuple[float, str, float]) -> float:
        middle, _, baseline = place
        near = [abs(dy - (baseline - half)) for dx, dy in line if abs(dx - middle) <= width / 2]
        return min(near, default=_WIDE.height)

    middle, anchor, baseline = max(places, key=clearance)
    x = middle - width / 2 if anchor == "start" else middle + width / 2
    return svg.label(x, baseline, text, class_="quiet halo", anchor=anchor)


def _line_labels(names: Sequence[tuple[str, float]]) -> list[str]:
    """Names of lines at the right end, above them, apart from each other."""
    wanted = [y - 7 for _, y in names]
    placed = svg.spread(wanted, HALF_TEXT * 1.25, _WIDE.top + HALF_TEXT, _WIDE.plot_bottom - 6)
    return [
        svg.label(_WIDE.plot_right - 4, y, text, class_="quiet halo", anchor="end")
        for (text, _), y in zip(names, placed, strict=True)
    ]
