"""The evaluations of a run in one form, side by side, as the pages ask for them."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from manylabel.deploy.dashboard.charts.forest import Mark
from manylabel.deploy.dashboard.errors import Problems
from manylabel.deploy.dashboard.reading import Store
from manylabel.deploy.dashboard.remedies import evaluate_command, evaluate_new
from manylabel.deploy.dashboard.view import View
from manylabel.eval.config import MetricForm
from manylabel.eval.statistics.bands import BANDS
from manylabel.eval.store.evaluations import read_summary
from manylabel.eval.store.history import History, histories, read_history
from manylabel.eval.store.names import EvaluationName
from manylabel.eval.store.promotions import Promotion, newest_promotion, read_promotions
from manylabel.eval.store.summary import EvaluationSummary

Numbers = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Series:
    """S evaluations of a run, by step, in one form; NaN where there is no number.

    Attributes:
        run: Name of the run.
        champion: What the differences are from; None: they are all NaN.
        steps, samples: int64 [S].
        values, low, high: [S], weighted MAP@k with the ends of its 95% interval.
        baseline: [S], of ranking every image by training frequency.
        undistinguished: bool [S], cannot be told from the run's best.
        difference, difference_low, difference_high: [S], from the champion.
        bands, baseline_bands: [S, B], weighted mean AP of the labels of each band.
        dataset_digest: Of the dataset of the newest evaluation.
        missing: Steps that were evaluated and are not in the history.
        history: What all of this is from.
    """

    run: str
    form: MetricForm
    champion: EvaluationName | None
    k: int
    steps: NDArray[np.int64]
    samples: NDArray[np.int64]
    evaluated_at: tuple[datetime, ...]
    values: Numbers
    low: Numbers
    high: Numbers
    baseline: Numbers
    undistinguished: NDArray[np.bool_]
    difference: Numbers
    difference_low: Numbers
    difference_high: Numbers
    bands: Numbers
    baseline_bands: Numbers
    recall: Numbers
    dataset_digest: str
    missing: tuple[int, ...]

    history: History

    def __len__(self) -> int:
        return len(self.steps)

    def in_form(self, form: MetricForm) -> "Series":
        """The same evaluations in a form."""
        return series_of(self.run, self.history, form)

    @property
    def best(self) -> int:
        """Place of the highest value."""
        return int(np.argmax(np.nan_to_num(self.values, nan=-np.inf)))

    @property
    def candidate(self) -> int:
        """Place of the evaluation to look at: the earliest that cannot be told from the best.

        Of many checkpoints looked at, the best is partly the luckiest.
        """
        return int(np.argmax(self.undistinguished)) if self.undistinguished.any() else self.best

    def place_of(self, step: int) -> int | None:
        """Place of the evaluation of a step."""
        found = np.flatnonzero(self.steps == step)
        return int(found[0]) if len(found) else None

    def name(self, place: int) -> EvaluationName:
        return EvaluationName(self.run, int(self.steps[place]))


def series_of(run: str, history: History, form: MetricForm) -> Series:
    """A history in one form; it must hold an evaluation."""
    table = history.evaluations

    def numbers(name: str) -> Numbers:
        return _finite(np.array(table.column(name).to_numpy(), dtype=np.float64))

    def bands(name: str) -> Numbers:
        rows = np.full((len(table), len(BANDS)), np.nan)
        for row, values in zip(rows, table.column(name).to_pylist(), strict=True):
            row[: len(values)] = values[: len(BANDS)]
        return _finite(rows)

    return Series(
        run=run,
        form=form,
        champion=history.champion,
        k=table.column("k")[-1].as_py(),
        steps=table.column("step").to_numpy(),
        samples=table.column("samples").to_numpy(),
        evaluated_at=tuple(table.column("evaluated_at").to_pylist()),
        values=numbers(f"{form}_value"),
        low=numbers(f"{form}_low"),
        high=numbers(f"{form}_high"),
        baseline=numbers(f"{form}_baseline"),
        undistinguished=table.column(f"{form}_undistinguished").to_numpy(zero_copy_only=False),
        difference=numbers(f"{form}_champion_difference"),
        difference_low=numbers(f"{form}_champion_low"),
        difference_high=numbers(f"{form}_champion_high"),
        bands=bands("bands"),
        baseline_bands=bands("baseline_bands"),
        recall=numbers("recall"),
        dataset_digest=table.column("dataset_digest")[-1].as_py(),
        missing=history.missing,
        history=history,
    )


@dataclass(frozen=True, eq=False)
class Histories:
    """The histories of a root's runs with the same settings.

    Attributes:
        settings: Their name; None: nothing has been evaluated.
        form: Which form the address asks for; that of the newest evaluation's headline else.
        headline: That form.
        promotions: Oldest first.
        champion: The newest promotion's; None: none yet, or its record is damaged.
        by_run: Of the runs that have one.
        others: Names of other settings that a run has a history of.
    """

    settings: str | None
    form: MetricForm
    headline: MetricForm
    promotions: tuple[Promotion, ...]
    champion: Promotion | None
    by_run: Mapping[str, Series]
    others: tuple[str, ...]

    @property
    def champion_name(self) -> EvaluationName | None:
        return None if self.champion is None else self.champion.candidate.name

    @property
    def champion_series(self) -> Series | None:
        return None if self.champion is None else self.by_run.get(self.champion.candidate.run)

    def is_stale(self, series: Series) -> bool:
        """Whether its differences are from an earlier champion."""
        return series.champion != self.champion_name

    def is_comparable(self, series: Series) -> bool:
        """Whether a run is judged on the champion's held-out images."""
        champion = self.champion
        return champion is not None and champion.dataset_digest == series.dataset_digest

    def is_compared(self, series: Series) -> bool:
        """Whether a run's differences are from the champion of today."""
        return (
            self.is_comparable(series)
            and not self.is_stale(series)
            and bool(np.isfinite(series.difference).any())
        )

    def mark(self, series: Series, place: int) -> Mark | None:
        """An evaluation's difference from the champion; None where there is none."""
        if not self.is_compared(series) or np.isnan(series.difference[place]):
            return None
        return Mark(
            float(series.difference[place]),
            number_or_none(series.difference_low[place]),
            number_or_none(series.difference_high[place]),
        )


def _finite(values: Numbers) -> Numbers:
    """Without infinite values, which no axis has room for."""
    return np.where(np.isfinite(values), values, np.nan)


def number_or_none(value: float) -> float | None:
    """A float of NumPy's, or None for NaN."""
    return None if np.isnan(value) else float(value)


def read_histories(
    store: Store, view: View, problems: Problems, only: str | None = None
) -> Histories:
    """The histories that a page shows; those that cannot be read are counted.

    Args:
        only: Read this run's and the champion's alone.
    """
    promotions = problems.attempt(lambda: tuple(read_promotions(store.root, problems.add))) or ()
    champion = problems.attempt(lambda: newest_promotion(store.root))
    names = store.run_names()
    available = {name: histories(store.root / name) for name in names}
    wanted = None if only is None else {only, *([champion.candidate.run] if champion else [])}
    settings = view.text("settings") or _newest_settings(store, champion, available, wanted)
    read = {}
    for name in names if wanted is None else sorted(wanted & set(names)):
        command = evaluate_new(store, name)
        if settings is not None and settings in available[name]:
            history = problems.attempt(partial(_read, store, name, settings), command)
            if history is not None and len(history.evaluations):
                read[name] = history
        elif settings is not None and _has_evaluation(store.root / name, settings):
            path = store.root / name / "history" / settings
            problems.add(f"{path}: no such history, though there are evaluations", command)
    headline = _headline(store, settings, read, problems)
    form = view.form or headline
    return Histories(
        settings=settings,
        form=form,
        headline=headline,
        promotions=promotions,
        champion=champion,
        by_run={name: series_of(name, history, form) for name, history in read.items()},
        others=tuple(sorted({each for those in available.values() for each in those} - {settings})),
    )


def _read(store: Store, run: str, settings: str) -> History:
    directory = store.root / run
    evaluated = directory / "evals"
    path = directory / "history" / settings / "evaluations.parquet"
    # A history also says which evaluations it lacks: it is read again when there are others.
    changed = evaluated.stat().st_mtime_ns if evaluated.is_dir() else 0
    return store.cached(path, _read_history_at, changed)


def _read_history_at(path: Path) -> History:
    return read_history(path.parent.parent.parent, path.parent.name)


def _newest_settings(
    store: Store,
    champion: Promotion | None,
    available: Mapping[str, list[str]],
    wanted: set[str] | None,
) -> str | None:
    """Those of the newest promotion's evidence, else of the newest history."""
    if champion is not None and champion.evidence is not None:
        return champion.evidence.settings
    ages = {
        settings: _age(store.root / run / "history" / settings / "evaluations.parquet")
        for run, those in available.items()
        for settings in those
        if wanted is None or run in wanted
    }
    return max(ages, key=ages.__getitem__, default=None)


def _age(path: Path) -> int:
    """When a file was written, ns; 0 for one that has gone since it was listed."""
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def _has_evaluation(run: Path, settings: str) -> bool:
    return any(True for _ in run.glob(f"evals/*/{settings}/summary.json"))


def _headline(
    store: Store, settings: str | None, read: Mapping[str, History], problems: Problems
) -> MetricForm:
    """The form of the newest evaluation's headline."""
    newest = max(
        read,
        key=lambda name: max(read[name].evaluations.column("evaluated_at").to_pylist()),
        default=None,
    )
    if newest is None or settings is None:
        return MetricForm.CLASS
    step = read[newest].evaluations.column("step")[-1].as_py()
    summary = problems.attempt(
        lambda: summary_of(store, EvaluationName(newest, step), settings),
        evaluate_new(store, newest),
    )
    return MetricForm.CLASS if summary is None else summary.headline.form


def summary_of(store: Store, name: EvaluationName, settings: str) -> EvaluationSummary:
    """The summary of an evaluation; raises as `read_summary`."""
    path = store.root / name.run / "evals" / f"{name.step:08d}" / settings / "summary.json"
    return store.cached(path, _read_summary_at)


def _read_summary_at(path: Path) -> EvaluationSummary:
    step = path.parent.parent
    return read_summary(step.parent.parent, int(step.name), path.parent.name)


def check_summaries(store: Store, series: Series, settings: str, problems: Problems) -> None:
    """Counts those of a run's summaries that are missing or damaged; its history has their numbers
    from when they were whole, and would lose them when it is rebuilt."""
    run = store.root / series.run
    for step in series.steps.tolist():
        path = run / "evals" / f"{step:08d}" / settings / "summary.json"
        damaged = Problems()
        damaged.attempt(partial(store.cached, path, _is_summary))
        for problem in damaged.found:
            problems.add(problem.text, evaluate_command(store, EvaluationName(series.run, step)))


def _is_summary(path: Path) -> bool:
    return EvaluationSummary.read(path).format_version > 0
