"""The schedules of a root: what each did last and why, and when it is due next."""

import shlex
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from manylabel.deploy.dashboard.errors import Problems
from manylabel.deploy.dashboard.reading import Store
from manylabel.eval.errors import EvaluationError
from manylabel.eval.schedule.config import SETTINGS, Schedules, read_schedules
from manylabel.eval.schedule.records import FireAction, FireJob, FireRecord, Outcome
from manylabel.eval.schedule.status import ScheduleStatus, outcome_of, schedule_statuses

_MARKS = {
    FireAction.MISSED: "broken",
    Outcome.DONE: "done",
    Outcome.FAILED: "broken",
    Outcome.GIVEN_UP: "broken",
}
"""Class of the mark of what has ended."""

_MOST_JOBS = 5


@dataclass(frozen=True)
class Scheduled:
    """A schedule as the page shows it.

    Attributes:
        when: Its cron line and zone, or "each new checkpoint".
        last: Its last fire; None before the first.
        did: What came of that, in some words.
        why: Why it did so, or failed.
        css: Class of the mark beside it.
        due: When it is due next; None where checkpoints decide, or it cannot be said.
        jobs: Of its last fire on a cluster, the newest last; a few where there are many.
    """

    name: str
    when: str
    runs: str
    last: FireRecord | None
    did: str
    why: str
    css: str
    due: datetime | None
    jobs: tuple[FireJob, ...] = ()


def schedules_of(store: Store, problems: Problems) -> list[Scheduled] | None:
    """The schedules of the root's settings file, by name; None where there is no such file."""
    if not (store.root / SETTINGS).is_file():
        return None
    try:
        found = store.cached(store.root / SETTINGS, _read_at)
    except EvaluationError as error:  # A line for each problem.
        for line in str(error).splitlines():
            problems.add(line, f"manylabel schedule list {shlex.quote(str(store.root))}")
        return []
    except OSError as error:
        problems.add(error)
        return []
    statuses = schedule_statuses(store.root, found, store.now())
    for status in statuses:
        if status.problem is not None:
            problems.add(status.problem)
    return [_scheduled(status) for status in sorted(statuses, key=lambda each: each.name)]


def _scheduled(status: ScheduleStatus) -> Scheduled:
    config = status.config
    when = f"{config.when}  {config.timezone}"
    if not config.is_cron:
        when = "each new checkpoint"
        if config.at_least_every:
            when = f"new checkpoints, {config.at_least_every:,} updates apart"
    did, why, css = _what_it_did(status)
    last, due = status.latest, status.next_due
    jobs = () if last is None else last.jobs[-_MOST_JOBS:]
    return Scheduled(status.name, when, config.runs, last, did, why, css, due, jobs)


def _what_it_did(status: ScheduleStatus) -> tuple[str, str, str]:
    """The outcome, its reason, and the mark's class."""
    last = status.latest
    if last is None:
        return "unreadable" if status.problem else "has not fired yet", "", ""
    did, _, why = outcome_of(last, status.asked_at).partition(": ")
    if last.action is FireAction.STARTED and last.outcome is None:
        # Nobody who asks from a page holds the lock of a host: heartbeats say who lives.
        return did, why, "live" if last.is_at_work(status.asked_at, "") else "broken"
    return did, why, _MARKS.get(last.outcome or last.action, "")


def _read_at(path: Path) -> Schedules:
    return read_schedules(path.parent)
