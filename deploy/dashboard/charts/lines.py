"""A run's evaluations over images seen, with their intervals and what they are held against."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from manylabel.deploy.dashboard import formats
from manylabel.deploy.dashboard.charts import svg
from manylabel.deploy.dashboard.charts.axes import x_axis, y_axis
from manylabel.deploy.dashboard.charts.labels import Labels
from manylabel.deploy.dashboard.charts.points import Numbers, Points
from manylabel.deploy.dashboard.charts.scales import Scale, padded
from manylabel.deploy.dashboard.charts.svg import HALF, HALF_TEXT, Chart, Frame
from manylabel.eval.axis import lower_end

_WIDE = Frame(HALF, 320, HALF_TEXT, left=82, right=12, top=14, bottom=56)
_FOCUS = 9.0
"""Widths of the best evaluation's interval that the chart of differences reaches below it."""
MOST_MARKS = 60
"""Evaluations whose verdicts have room for a mark each, 8 units apart."""


def difference_chart(points: Points, promoted: Sequence[int], champion: str) -> Chart:
    """[A] The difference from the champion over images seen, in reach of the best's interval.

    Args:
        promoted: Places of evaluations whose checkpoint was promoted.
        champion: Its name.
    """
    there = np.flatnonzero(np.isfinite(points.values))
    best = int(there[np.argmax(points.values[there])])
    x = points.x_scale(_WIDE)
    low, high = np.fmin(points.low, points.values), np.fmax(points.high, points.values)
    width = max(float(high[best] - low[best]), 1e-6)
    bottom = min(0.0, max(float(np.nanmin(low)), min(0.0, float(low[best])) - _FOCUS * width))
    y = _WIDE.y_scale(*padded(bottom, max(0.0, float(np.nanmax(high)))))
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
        y_axis(_WIDE, y, formats.difference),
        x_axis(_WIDE, x, formats.samples_tick, title="images seen"),
        _clipped(_WIDE, inside),
    ]
    labels = Labels(_WIDE, at(points.values, there.tolist()))
    if below:
        labels.at_the_bottom(f"{formats.plural(below, 'earlier evaluation')} below")
    labels.of_level(y(0), f"champion {champion}")
    body += labels.placed
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

    The axis reaches down to the untrained network where that leaves half of it to the others.

    Args:
        baseline: Of ranking every image by training frequency.
        undistinguished: bool [S], cannot be told from the best: drawn thick.
        promoted: Places of evaluations whose checkpoint was promoted.
        champion: Its value on the same held-out images, if it is another run's.
    """
    there = np.flatnonzero(np.isfinite(points.values))
    x = points.x_scale(_WIDE)
    names = [("frequency baseline", baseline), ("champion", champion)]
    held = [(name, value) for name, value in names if value is not None and np.isfinite(value)]
    levels = [value for _, value in held]
    lows = np.fmin(points.low, points.values)
    trained = there[points.samples[there] > 0]
    top = max(*levels, float(np.nanmax(np.fmax(points.high, points.values)[there])), -np.inf)
    bottom = min(*levels, float(np.nanmin(lows[trained if len(trained) else there])), np.inf)
    bottom = lower_end(bottom, top, float(np.nanmin(lows[there])))
    y = _WIDE.y_scale(*padded(bottom, top, 0.1))

    def at(values: Numbers, places: NDArray[np.int64]) -> list[tuple[float, float]]:
        return [(x(points.samples[place]), y(values[place])) for place in places]

    line = at(points.values, there)
    band = there[np.isfinite(points.low[there]) & np.isfinite(points.high[there])]
    parts = [
        y_axis(_WIDE, y, formats.map_value),
        x_axis(_WIDE, x, formats.samples_tick, title="images seen"),
    ]
    for name, value in held:
        css = "champion" if name == "champion" else "baseline"
        parts.append(svg.line(_WIDE.left, y(value), _WIDE.plot_right, y(value), css))
    inside = [svg.area(at(points.high, band), at(points.low, band), "band")] if len(band) else []
    inside.append(svg.polyline(line, "line"))
    stretches = _stretches(line, undistinguished[there])
    inside += [svg.polyline(part, "line thick") for part in stretches]
    marked = np.intersect1d(there, np.array(promoted, dtype=np.int64))
    inside += [svg.diamond(*place, 6, "promoted") for place in at(points.values, marked)]
    parts.append(_clipped(_WIDE, inside))
    labels = Labels(_WIDE, line, [y(value) for value in levels])
    for name, value in held:
        labels.of_level(y(value), name)
    if points.values[there[0]] < y.low:
        labels.at_the_bottom(f"untrained {formats.map_value(points.values[there[0]])}, below")
    parts += labels.placed
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


def _cursor(x: Scale, tells: str) -> dict[str, str]:
    """What page.js must know to tell of the evaluation below the pointer.

    Args:
        tells: Keys of two columns of the evaluations' table, a value and its interval.
    """
    numbers = {"left": x.start, "right": x.end, "top": _WIDE.top, "bottom": _WIDE.plot_bottom}
    places = {name: svg.number(value) for name, value in numbers.items()}
    return {"cursor": "evaluations", "tells": tells, "most": f"{x.high:.0f}", **places}


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
