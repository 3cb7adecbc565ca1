"""How many: labels by frequency on two logarithmic axes, and histograms."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from manylabel.deploy.dashboard import formats
from manylabel.deploy.dashboard.charts import svg
from manylabel.deploy.dashboard.charts.axes import x_axis, y_axis
from manylabel.deploy.dashboard.charts.svg import THIRD, Chart, Frame

_FRAME = Frame(THIRD, 186, left=50, right=6, top=10, bottom=42)
_POINTS = 120
"""Of a line through as many labels as there are, evenly spread on its axis."""
_ROW = 24.0


def frequency_chart(train_counts: NDArray[np.int64]) -> Chart:
    """Training images of each label, the most frequent first."""
    counts = np.sort(train_counts)[::-1]
    ranks = np.unique(np.geomspace(1, len(counts), _POINTS).astype(int))
    shown = [(int(rank), max(int(counts[rank - 1]), 1)) for rank in ranks]
    x = _FRAME.x_scale(1, max(len(counts), 2), logarithmic=True)
    y = _FRAME.y_scale(max(shown[-1][1] / 1.3, 0.7), shown[0][1] * 1.3, logarithmic=True)
    body = [
        y_axis(_FRAME, y, formats.samples_tick, most=5),
        x_axis(_FRAME, x, formats.samples_tick, title="label, by frequency", most=4),
        svg.polyline([(x(rank), y(count)) for rank, count in shown], "line"),
    ]
    median = int(np.median(counts))
    return Chart(
        "frequencies",
        "Training images of each label",
        f"From {formats.count(counts[0])} to {formats.count(counts[-1])} over "
        f"{formats.count(len(counts))} labels, median {formats.count(median)}; both axes are "
        "logarithmic.",
        _FRAME,
        "".join(body),
    )


def histogram(name: str, title: str, values: NDArray[np.int64], axis: str) -> Chart:
    """How many images have how many of something."""
    top = max(int(np.percentile(values, 99.5)), 1)
    step = max(1, -(-(top + 1) // 30))
    edges = np.arange(0, top + step + 1, step)
    heights = np.bincount(np.minimum(values // step, len(edges) - 2), minlength=len(edges) - 1)
    x = _FRAME.x_scale(0, float(edges[-1]))
    y = _FRAME.y_scale(0, float(heights.max()) * 1.06)
    bars = "".join(
        f"M{svg.number(x(low) + 0.5)} {svg.number(y(0))}V{svg.number(y(height))}"
        f"H{svg.number(x(low + step) - 0.5)}V{svg.number(y(0))}Z"
        for low, height in zip(edges[:-1], heights, strict=True)
        if height
    )
    body = [
        y_axis(_FRAME, y, formats.samples_tick, most=4),
        svg.element("path", d=bars, class_="bar plain"),
        x_axis(_FRAME, x, formats.count, title=axis, most=5),
    ]
    return Chart(
        name,
        title,
        f"Mean {formats.measure(float(values.mean()))}, median "
        f"{formats.count(float(np.median(values)))}, largest {formats.count(int(values.max()))}.",
        _FRAME,
        "".join(body),
    )


def reasons_chart(reasons: Sequence[tuple[str, int]]) -> Chart:
    """A bar for each reason, the most frequent first, with its count."""
    room = 8 + max(svg.text_width(formats.count(count)) for _, count in reasons)
    frame = Frame(THIRD, _ROW * len(reasons) + 8, left=150, right=room, top=4, bottom=4)
    x = frame.x_scale(0, max(count for _, count in reasons))
    body = []
    for row, (reason, count) in enumerate(reasons):
        y = frame.top + _ROW * row
        text = svg.text_fitting(reason, frame.left - 8)
        width = max(x(count) - frame.left, 1)
        body.append(svg.label(0, y + 16, text))
        body.append(
            svg.element(
                "rect", x=frame.left, y=y + 7, width=width, height=10, rx=1, class_="bar plain"
            )
        )
        body.append(svg.label(frame.left + width + 6, y + 16, formats.count(count), class_="tick"))
    named = ", ".join(f"{reason} {formats.count(count)}" for reason, count in reasons)
    return Chart("rejects", "Rejected, by reason", named, frame, "".join(body))
