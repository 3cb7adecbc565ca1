"""The evaluations of one run: their charts and their table."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import numpy as np

from manylabel.deploy.dashboard import formats
from manylabel.deploy.dashboard.charts.forest import Mark
from manylabel.deploy.dashboard.charts.lines import MOST_MARKS, difference_chart, map_chart
from manylabel.deploy.dashboard.charts.points import Points
from manylabel.deploy.dashboard.charts.svg import Chart
from manylabel.deploy.dashboard.charts.training import band_chart
from manylabel.deploy.dashboard.histories import Histories, Numbers, Series, number_or_none
from manylabel.deploy.dashboard.tables import Column, Table
from manylabel.deploy.dashboard.view import View
from manylabel.eval.config import MetricForm
from manylabel.eval.statistics.bands import BANDS
from manylabel.eval.store.names import EvaluationName

_FIRST_ROWS = 24
"""As many as are in sight, and a few: the page has many charts besides."""


@dataclass(frozen=True)
class Candidate:
    """The evaluation to look at.

    Attributes:
        value, low, high: Weighted MAP@k and the ends of its interval; None where there is none.
        baseline: Of ranking every image by training frequency.
        mark: Its difference from the champion; None where they cannot be compared.
        review: Address of its review against the champion; None likewise.
    """

    name: EvaluationName
    samples: int
    value: float
    low: float | None
    high: float | None
    baseline: float
    mark: Mark | None
    review: str | None


@dataclass(frozen=True, eq=False)
class Evaluated:
    """What the page says of a run's evaluations.

    Attributes:
        why: Why there is no difference from the champion; "" where there is one.
        charts: [A], where there is a champion to differ from, and [B].
        bands: [C], each with the band's name.
    """

    series: Series
    other: Series
    candidate: Candidate
    why: str
    charts: tuple[Chart, ...]
    bands: tuple[tuple[str, Chart], ...]
    table: Table

    @property
    def has_marks(self) -> bool:
        """Whether [A] has a mark for each evaluation."""
        return len(self.series) <= MOST_MARKS

    def columns(self) -> dict[str, Any]:
        """The evaluations as JSON has them: a list for each column."""
        return {column.key: column.plain() for column in self.table.columns}


def evaluated(found: Histories, series: Series, view: View) -> Evaluated:
    """Charts and table of a run's evaluations."""
    other_form = MetricForm.IMAGE if series.form is MetricForm.CLASS else MetricForm.CLASS
    other = series.in_form(other_form)
    return Evaluated(
        series=series,
        other=other,
        candidate=_candidate(found, series, view),
        why=_why_not_compared(found, series),
        charts=tuple(_charts(found, series)),
        bands=tuple(_band_charts(series)),
        table=_table(found, series, other, view),
    )


def _candidate(found: Histories, series: Series, view: View) -> Candidate:
    place = series.candidate
    name = series.name(place)
    mark = found.mark(series, place)
    is_champion = name == found.champion_name
    return Candidate(
        name=name,
        samples=int(series.samples[place]),
        value=float(series.values[place]),
        low=number_or_none(series.low[place]),
        high=number_or_none(series.high[place]),
        baseline=float(series.baseline[place]),
        mark=mark,
        review=(
            None
            if mark is None or is_champion
            else view.to("/review", a=str(name), settings=_named_settings(found))
        ),
    )


def _named_settings(found: Histories) -> str | None:
    """The settings of this page, for a page that could take others."""
    return found.settings if found.others else None


def _why_not_compared(found: Histories, series: Series) -> str:
    if found.champion is None or found.is_compared(series):
        return ""
    if not found.is_comparable(series):
        return "not comparable with the champion, which was judged on other held-out images"
    return "not compared with today's champion yet"


def _promoted_steps(found: Histories, run: str) -> set[int]:
    """Steps of a run's checkpoints that were the champion once, or are."""
    names = (each.candidate.name for each in found.promotions)
    return {name.step for name in names if name.run == run}


def _charts(found: Histories, series: Series) -> Iterator[Chart]:
    promoted = [
        place
        for step in sorted(_promoted_steps(found, series.run))
        if (place := series.place_of(step)) is not None
    ]
    if found.is_compared(series):
        points = Points(
            series.samples, series.difference, series.difference_low, series.difference_high
        )
        yield difference_chart(points, promoted, str(found.champion_name))
    if not np.isfinite(series.values).any():
        return
    points = Points(series.samples, series.values, series.low, series.high)
    baseline = float(series.baseline[-1])
    champion = _champion_value(found, series)
    yield map_chart(points, baseline, series.undistinguished, promoted, champion)


def _band_charts(series: Series) -> list[tuple[str, Chart]]:
    """[C] A chart for each band of label frequency that held-out images have, on one axis."""
    shown = [band for band in range(len(BANDS)) if np.isfinite(series.bands[:, band]).any()]
    if not shown:
        return []
    top = float(np.nanmax(np.fmax(series.bands, series.baseline_bands))) * 1.06 or 1.0
    return [
        (
            BANDS[band].name,
            band_chart(
                f"band-{band + 1}",
                f"Labels with {BANDS[band].name} training images",
                Points(series.samples, series.bands[:, band]),
                float(series.baseline_bands[-1, band]),
                top,
            ),
        )
        for band in shown
    ]


def _table(found: Histories, series: Series, other: Series, view: View) -> Table:
    """A row for each evaluation, the newest first; those that can be reviewed are linked.

    Args:
        other: The same evaluations in the other form.
    """
    compared = found.is_compared(series)
    base = view.to("/review", settings=_named_settings(found))
    address = f"{base}{'&' if '?' in base else '?'}a={quote(series.run)}@{{step}}"
    columns = [
        Column("step", "step", series.steps, "count", href=address if compared else None),
        Column("samples", "images seen", series.samples, "samples"),
        Column("value", f"wMAP@{series.k}", series.values, "map"),
        Column(
            "interval",
            "95% interval",
            _intervals(series.low, series.high, formats.map_value),
            sorts=False,
        ),
        Column("low", "", series.low, "map"),
        Column("high", "", series.high, "map"),
    ]
    if compared:
        columns += [
            Column("difference", "difference", series.difference, "difference", tone="tone"),
            Column(
                "difference_interval",
                "95% interval",
                _intervals(series.difference_low, series.difference_high, formats.difference),
                sorts=False,
            ),
            Column("tone", "", _tones(series)),
            Column("difference_low", "", series.difference_low, "difference"),
            Column("difference_high", "", series.difference_high, "difference"),
        ]
    columns += [
        Column("other", f"{other.form} form", other.values, "map"),
        Column("recall", f"recall@{series.k}", series.recall, "ap"),
        Column("note", "note", _notes(found, series)),
        Column("evaluated_at", "", [formats.moment_iso(each) for each in series.evaluated_at]),
    ]
    return Table(
        "evaluations",
        tuple(columns),
        order="-step",
        caption=f"Evaluations of {series.run}",
        noun="evaluations",
        first=_FIRST_ROWS,
    )


def _champion_value(found: Histories, series: Series) -> float | None:
    """The champion's value, where it is another run's on the same held-out images."""
    champion, name = found.champion_series, found.champion_name
    if champion is None or name is None or champion.run == series.run:
        return None
    place = champion.place_of(name.step)
    if place is None or not found.is_comparable(series):
        return None
    return float(champion.values[place])


def _intervals(low: Numbers, high: Numbers, form: Callable[[float], str]) -> list[str]:
    return [
        formats.NOTHING if np.isnan(ends).any() else formats.interval(*ends, form)
        for ends in zip(low.tolist(), high.tolist(), strict=True)
    ]


def _tones(series: Series) -> list[str]:
    """Classes of the colours of what is shown to be better or worse."""
    ends = zip(series.difference_low.tolist(), series.difference_high.tolist(), strict=True)
    return ["gain" if low > 0 else "loss" if high < 0 else "" for low, high in ends]


def _notes(found: Histories, series: Series) -> list[str]:
    promoted = _promoted_steps(found, series.run)
    champion = found.champion_name
    notes = []
    for place, step in enumerate(series.steps.tolist()):
        words = []
        if champion is not None and champion == series.name(place):
            words.append("champion")
        elif step in promoted:
            words.append("promoted")
        if place == series.candidate:
            words.append("candidate")
        if place == series.best:
            words.append("best")
        notes.append(", ".join(words))
    return notes
