"""The health of one run's training, from its metrics."""

from collections.abc import Sequence

import numpy as np

from manylabel.deploy.dashboard import formats
from manylabel.deploy.dashboard.charts.points import Points
from manylabel.deploy.dashboard.charts.svg import Chart
from manylabel.deploy.dashboard.charts.training import training_chart
from manylabel.deploy.dashboard.histories import Series
from manylabel.trainer.plane.metrics import MetricsRow

ROWS = 120
"""Rows of metrics in a chart, evenly spread: one for three units of a chart."""


def training_charts(rows: Sequence[MetricsRow], series: Series | None) -> list[Chart]:
    """Speed, loss, rate, staleness and gradients over images seen, and the MAP beside them."""
    if len(rows) < 2:
        return []
    samples = np.array([row.samples for row in rows])

    def values(name: str) -> np.ndarray:
        numbers = np.array([getattr(row, name) for row in rows], dtype=np.float64)
        return np.where(np.isfinite(numbers), numbers, np.nan)  # A run that diverged.

    def points(name: str) -> Points:
        return Points(samples, values(name))

    charts = [
        training_chart("speed", "Images a second", points("images_per_second")),
        training_chart("loss", "Loss, without L2", points("loss"), logarithmic=True),
        training_chart("rate", "Learning rate", points("learning_rate"), logarithmic=True),
        training_chart(
            "staleness",
            "Staleness",
            points("staleness"),
            also=values("max_staleness"),
            names=("mean", "largest"),
        ),
        training_chart("norm", "Gradient norm", points("gradient_norm"), logarithmic=True),
    ]
    if series is not None and len(series) > 1:
        title = f"Weighted MAP@{series.k}"
        value = Points(series.samples, series.values)
        charts.append(training_chart("beside", title, value, form=formats.map_value))
    return [chart for chart in charts if chart is not None]


def as_columns(rows: Sequence[MetricsRow]) -> dict[str, list[float]]:
    """The rows as JSON has them: a list for each quantity."""
    if not rows:
        return {}
    return {name: [getattr(row, name) for row in rows] for name in vars(rows[0])}
