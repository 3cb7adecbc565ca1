"""Run: which checkpoint is the candidate; train on?"""

from collections.abc import Mapping
from typing import Any

import yaml

from manylabel.deploy.dashboard.errors import Problems
from manylabel.deploy.dashboard.histories import (
    Histories,
    check_summaries,
    read_histories,
    summary_of,
)
from manylabel.deploy.dashboard.jobs import ATTEMPTS, PROCESSES, jobs_of
from manylabel.deploy.dashboard.page import Crumb, Page
from manylabel.deploy.dashboard.pages.run_dataset import DatasetSection, dataset_section
from manylabel.deploy.dashboard.pages.run_evaluations import Evaluated, evaluated
from manylabel.deploy.dashboard.pages.run_training import ROWS, as_columns, training_charts
from manylabel.deploy.dashboard.reading import Store
from manylabel.deploy.dashboard.remedies import evaluate_command, evaluate_new
from manylabel.deploy.dashboard.states import Doing, description_of, metrics_of, run_state
from manylabel.deploy.dashboard.view import View
from manylabel.eval.store.summary import EvaluationSummary


def page(store: Store, view: View, names: Mapping[str, str]) -> Page:
    """The page `/runs/RUN`."""
    run = store.run(names["run"]).name
    problems = Problems()
    found = read_histories(store, view, problems, only=run)
    view = view.with_defaults(form=found.headline, sort="-step")
    series = found.by_run.get(run)
    section = None
    if series is not None and found.settings is not None:
        section = evaluated(found, series, view)
        check_summaries(store, series, found.settings, problems)
    rows = problems.attempt(lambda: metrics_of(store, run, ROWS)) or ()
    dataset = dataset_section(store, run, problems)
    health = training_charts(rows, series)
    state = run_state(store, run, problems)
    jobs = jobs_of(store, run, problems)
    description = None
    if state.doing is not Doing.SCORED:
        description = problems.attempt(lambda: description_of(store, run))
    charts = [
        *(section.charts if section else ()),
        *(chart for _, chart in (section.bands if section else ())),
        *health,
        *(dataset.charts if dataset else ()),
    ]
    settings = None if description is None else description.trainer.model_dump(mode="json")
    return Page(
        template="run.html",
        title=run,
        view=view,
        form=found.form,
        trail=(Crumb(run, view.to(f"/runs/{run}")),),
        problems=problems.found,
        data={
            "run": run,
            "form": found.form,
            "settings": found.settings,
            "champion": None if found.champion_name is None else str(found.champion_name),
            "state": {"doing": state.doing, "share": state.share},
            "jobs": [job.to_json() for job in jobs],
            "candidate": None if section is None else str(section.candidate.name),
            "evaluations": None if section is None else section.columns(),
            "training": as_columns(rows),
            "dataset": None if dataset is None else _dataset(dataset),
            "description": None
            if description is None
            else description.model_dump(mode="json", exclude={"trainer"}) | {"trainer": settings},
        },
        context={
            "run": run,
            "found": found,
            "state": state,
            "jobs": jobs,
            "most": {"processes": PROCESSES, "attempts": ATTEMPTS},
            "section": section,
            "summary": _summary(store, found, section, problems),
            "health": health,
            "rows": len(rows),
            "dataset": dataset,
            "description": description,
            "settings": None if settings is None else yaml.safe_dump(settings, sort_keys=False),
            "evaluate_new": evaluate_new(store, run),
            "now": store.now(),
        },
        tables={} if section is None else {"evaluations": section.table},
        figures={chart.name: chart for chart in charts},
    )


def _summary(
    store: Store, found: Histories, section: Evaluated | None, problems: Problems
) -> EvaluationSummary | None:
    """Of the candidate's evaluation, for the lineage."""
    settings = found.settings
    if section is None or settings is None:
        return None
    name = section.candidate.name
    return problems.attempt(
        lambda: summary_of(store, name, settings),
        evaluate_command(store, name),
    )


def _dataset(dataset: DatasetSection) -> dict[str, Any]:
    manifest = dataset.manifest
    return {
        "root": dataset.root,
        "content_digest": None if manifest is None else manifest.content_digest,
        "counts": None if manifest is None else manifest.counts.model_dump(),
        "rejected": None if dataset.reasons is None else dict(dataset.reasons),
    }
