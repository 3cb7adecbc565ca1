"""Small charts over images seen: bands of label frequency, quantities of training."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from manylabel.deploy.dashboard import formats
from manylabel.deploy.dashboard.charts import svg
from manylabel.deploy.dashboard.charts.axes import x_axis, y_axis
from manylabel.deploy.dashboard.charts.points import Numbers, Points, thinned
from manylabel.deploy.dashboard.charts.scales import padded, spread
from manylabel.deploy.dashboard.charts.svg import SIXTH, THIRD, Chart, Frame

_NARROW = Frame(THIRD, 166, left=58, right=6, top=10, bottom=42)
_SMALL = Frame(SIXTH, 130, left=36, right=4, top=10, bottom=24)
_IN_NARROW, _IN_SMALL = 120, 60
"""Points of a line in a small chart: one for two or three units."""


def band_chart(name: str, title: str, points: Points, baseline: float, top: float) -> Chart:
    """[C] One band of label frequency; `top` is the end of the axis that all of them share."""
    x = points.x_scale(_SMALL)
    y = _SMALL.y_scale(0, top)
    line = [(x(points.samples[p]), y(points.values[p])) for p in thinned(points.values, _IN_SMALL)]
    body = [
        y_axis(_SMALL, y, _share, most=4),
        x_axis(_SMALL, x, formats.samples_tick, most=3),
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
        ends = padded(0.0 if 0 <= low < high / 2 else low, high)
        ends = max(ends[0], 0.0) if low >= 0 else ends[0], ends[1]
    x, y = points.x_scale(frame), frame.y_scale(*ends, logarithmic=logarithmic)

    def line(ys: Numbers) -> list[tuple[float, float]]:
        return [(x(points.samples[p]), y(ys[p])) for p in thinned(ys, _IN_NARROW)]

    body = [
        y_axis(frame, y, form, most=4),
        x_axis(frame, x, formats.samples_tick, title="images seen", most=4),
    ]
    if also is not None:
        body.append(svg.polyline(line(also), "line faint"))
    body.append(svg.polyline(line(points.values), "line"))
    if also is not None:
        middles = [y(float(np.nanmedian(each))) + 4 for each in (points.values, also)]
        placed = spread(middles, svg.TEXT_SIZE * 1.3, frame.top + 8, frame.plot_bottom - 4)
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


def _share(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if value else "0"
