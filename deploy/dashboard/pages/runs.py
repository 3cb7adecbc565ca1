"""Runs: which run deserves a review?"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from manylabel.deploy.dashboard.charts.forest import Forest, Mark
from manylabel.deploy.dashboard.errors import Problems
from manylabel.deploy.dashboard.histories import (
    Histories,
    Series,
    number_or_none,
    read_histories,
)
from manylabel.deploy.dashboard.jobs import ShownJob, newest_job
from manylabel.deploy.dashboard.page import Page
from manylabel.deploy.dashboard.pages.promotions import SHOWN, promotions_table, timeline
from manylabel.deploy.dashboard.pages.schedules import schedules_of
from manylabel.deploy.dashboard.reading import Store
from manylabel.deploy.dashboard.remedies import evaluate_new
from manylabel.deploy.dashboard.states import RunState, run_state
from manylabel.deploy.dashboard.tables import Column, Table
from manylabel.deploy.dashboard.view import View
from manylabel.eval.store.names import EvaluationName


@dataclass(frozen=True)
class Row:
    """A run in the table.

    Attributes:
        candidate: Its checkpoint to look at; None before the first evaluation.
        value, low, high: Weighted MAP@k of the candidate and its interval.
        baseline: Of ranking every image by training frequency.
        mark: The candidate's difference from the champion; None where there is none.
        why: Why there is no difference, in a few words; "" where there is one.
        undistinguished: Evaluations that cannot be told from the run's best.
        is_champion: Whether the champion is one of its checkpoints.
        job: The one heard of last; None where there is none, or it ended well.
    """

    name: str
    state: RunState
    job: ShownJob | None = None
    candidate: EvaluationName | None = None
    samples: int | None = None
    value: float | None = None
    low: float | None = None
    high: float | None = None
    baseline: float | None = None
    mark: Mark | None = None
    why: str = ""
    evaluations: int = 0
    undistinguished: int = 0
    newest: datetime | None = None
    is_champion: bool = False


_ORDERS = {
    "run": lambda row: row.name.casefold(),
    "value": lambda row: row.value,
    "difference": lambda row: row.mark and row.mark.value,
    "evaluations": lambda row: row.evaluations,
    "newest": lambda row: row.newest and row.newest.timestamp(),
}
_ORDER = "-difference"


def page(store: Store, view: View, names: Mapping[str, str]) -> Page:
    """The page `/`."""
    problems = Problems()
    found = read_histories(store, view, problems)
    view = view.with_defaults(form=found.headline, sort=_ORDER)
    rows = _sorted([_row(store, name, found, problems) for name in store.run_names()], view)
    marks = [row.mark for row in rows if row.mark is not None]
    schedules = schedules_of(store, problems)
    decisions = timeline(found.promotions, found.form, view)
    return Page(
        template="runs.html",
        title="Runs",
        view=view,
        form=found.form,
        problems=problems.found,
        data={
            "form": found.form,
            "settings": found.settings,
            "champion": None if found.champion is None else found.champion.model_dump(mode="json"),
            "runs": [_as_json(row) for row in rows],
            "schedules": None
            if schedules is None
            else [
                asdict(each)
                | {
                    "last": each.last and each.last.model_dump(mode="json"),
                    "jobs": [job.model_dump() for job in each.jobs],
                }
                for each in schedules
            ],
            "promotions": [each.model_dump(mode="json") for each in found.promotions],
        },
        context={
            "found": found,
            "champion": _champion(found),
            "rows": rows,
            "order": view.text("sort"),
            "forest": Forest.of(marks) if marks else None,
            "k": _k(found),
            "evaluate_new": lambda name: evaluate_new(store, name),
            "schedules": schedules,
            "decisions": decisions[:SHOWN],
            "earlier": max(0, len(decisions) - SHOWN),
            "now": store.now(),
        },
        tables={
            "runs": _table(rows),
            "promotions": promotions_table(found.promotions, found.form),
        },
    )


def _row(store: Store, name: str, found: Histories, problems: Problems) -> Row:
    state = run_state(store, name, problems)
    job = newest_job(store, name, problems)
    series = found.by_run.get(name)
    if series is None:
        return Row(name, state, job)
    if series.missing:
        problems.add(
            f"{store.root / name / 'history' / str(found.settings)}: lacks "
            f"{len(series.missing)} evaluations",
            evaluate_new(store, name),
        )
    place = series.candidate
    mark, why = _mark(series, place, found)
    return Row(
        name=name,
        state=state,
        job=job,
        candidate=series.name(place),
        samples=int(series.samples[place]),
        value=float(series.values[place]),
        low=number_or_none(series.low[place]),
        high=number_or_none(series.high[place]),
        baseline=float(series.baseline[place]),
        mark=mark,
        why=why,
        evaluations=len(series),
        undistinguished=int(series.undistinguished.sum()),
        newest=max(series.evaluated_at),
        is_champion=found.champion_name is not None and found.champion_name.run == name,
    )


def _mark(series: Series, place: int, found: Histories) -> tuple[Mark | None, str]:
    """The difference of an evaluation from the champion, or why there is none."""
    if found.champion is None:
        return None, ""
    if not found.is_comparable(series):
        return None, "not comparable: other held-out images"
    mark = found.mark(series, place)
    return mark, "" if mark else "not compared with today's champion yet"


@dataclass(frozen=True)
class Champion:
    """The champion's line."""

    name: EvaluationName
    value: float | None
    low: float | None
    high: float | None
    samples: int | None


def _champion(found: Histories) -> Champion | None:
    if found.champion_name is None:
        return None
    series = found.champion_series
    place = None if series is None else series.place_of(found.champion_name.step)
    if series is None or place is None:
        return Champion(found.champion_name, None, None, None, None)
    return Champion(
        found.champion_name,
        float(series.values[place]),
        number_or_none(series.low[place]),
        number_or_none(series.high[place]),
        int(series.samples[place]),
    )


def _sorted(rows: list[Row], view: View) -> list[Row]:
    """In the address' order; runs without the value come last, by name."""
    order = view.choice("sort", tuple(f"{sign}{key}" for key in _ORDERS for sign in ("", "-")))
    order = order or _ORDER
    key = _ORDERS[order.removeprefix("-")]
    rows = sorted(rows, key=_ORDERS["run"])
    having = [row for row in rows if key(row) is not None]
    having.sort(key=key, reverse=order.startswith("-"))
    return [*having, *(row for row in rows if key(row) is None)]


def _k(found: Histories) -> int:
    return next((series.k for series in found.by_run.values()), 100)


def _as_json(row: Row) -> dict[str, Any]:
    data = asdict(row)
    data["state"] = {"doing": row.state.doing, "share": row.state.share}
    data["job"] = None if row.job is None else row.job.to_json()
    data["candidate"] = None if row.candidate is None else str(row.candidate)
    return data


def _table(rows: Sequence[Row]) -> Table:
    """The runs as a file."""

    def column(key: str, values: Sequence[object], form: str = "text") -> Column:
        return Column(key, key, values, form)

    marks = [row.mark for row in rows]
    return Table(
        "runs",
        (
            column("run", [row.name for row in rows]),
            column("state", [str(row.state.doing) for row in rows]),
            column("candidate", [row.candidate and str(row.candidate) for row in rows]),
            column("samples", [row.samples for row in rows], "samples"),
            column("value", [row.value for row in rows], "map"),
            column("low", [row.low for row in rows], "map"),
            column("high", [row.high for row in rows], "map"),
            column("baseline", [row.baseline for row in rows], "map"),
            column("difference", [mark and mark.value for mark in marks], "difference"),
            column("difference_low", [mark and mark.low for mark in marks], "difference"),
            column("difference_high", [mark and mark.high for mark in marks], "difference"),
            column("note", [row.why for row in rows]),
            column("evaluations", [row.evaluations for row in rows], "count"),
        ),
        order=_ORDER,
        caption="Runs",
        noun="runs",
    )
