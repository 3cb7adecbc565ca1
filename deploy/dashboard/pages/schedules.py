"""The schedules of a root: what each did last and why, and when it is due next."""

from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path

from manylabel.deploy.dashboard.errors import Problems
from manylabel.deploy.dashboard.reading import Store
from manylabel.eval.errors import EvaluationError
from manylabel.eval.schedule.config import SETTINGS, ScheduleConfig, read_schedules
from manylabel.eval.schedule.cron import times_after
from manylabel.eval.schedule.records import FireAction, FireRecord, Outcome
from manylabel.eval.schedule.store import FireStore


@dataclass(frozen=True)
class Scheduled:
    """A schedule as the page shows it.

    Attributes:
        when: Its cron line and zone, or "each new checkpoint".
        last: Its last fire; None before the first.
        did: What that did, in a word or two.
        css: Class of the mark beside it.
        due: When it is due next; None where checkpoints decide, or it cannot be said.
    """

    name: str
    when: str
    runs: str
    last: FireRecord | None
    did: str
    css: str
    due: datetime | None


def schedules_of(store: Store, problems: Problems) -> list[Scheduled] | None:
    """The schedules of the root's settings file, by name; None where there is no such file."""
    if not (store.root / SETTINGS).is_file():
        return None
    found = None
    try:
        found = store.cached(store.root / SETTINGS, _read_at)
    except EvaluationError as error:  # A line for each problem.
        for line in str(error).splitlines():
            problems.add(line, f"manylabel schedule list {store.root}")
    return [
        _scheduled(store, name, config, problems) for name, config in sorted((found or {}).items())
    ]


def _scheduled(store: Store, name: str, config: ScheduleConfig, problems: Problems) -> Scheduled:
    fires = problems.attempt(lambda: FireStore(store.root).fires(name, config))
    last = max(fires or (), key=lambda fire: fire.started, default=None)
    due = None
    if config.is_cron:
        when = f"{config.when}  {config.timezone}"
        due = next(islice(times_after(config.when, config.zone, store.now()), 1), None)
    else:
        when = "each new checkpoint"
        if config.at_least_every:
            when = f"new checkpoints, {config.at_least_every:,} updates apart"
    did, css = _what_it_did(last)
    return Scheduled(name, when, config.runs, last, did, css, due)


def _what_it_did(last: FireRecord | None) -> tuple[str, str]:
    if last is None:
        return "has not fired yet", ""
    match last.action, last.outcome:
        case FireAction.SKIPPED_OVERLAP, _:
            return "skipped", ""
        case FireAction.MISSED, _:
            return "missed", "broken"
        case _, Outcome.DONE:
            return "evaluated", "done"
        case _, Outcome.FAILED:
            return "failed, will be tried again", "broken"
        case _, Outcome.INTERRUPTED:
            return "interrupted, will be tried again", ""
        case _, Outcome.GIVEN_UP:
            return "given up", "broken"
    return "at work", "live"


def _read_at(path: Path) -> dict[str, ScheduleConfig]:
    return read_schedules(path.parent).schedules
