"""What the schedules of a root did last, why, and what comes next."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from manylabel.eval.schedule.config import ScheduleConfig, Schedules
from manylabel.eval.schedule.decision import Decision
from manylabel.eval.schedule.progress import RunFacts
from manylabel.eval.schedule.records import FireAction, FireEvaluation, FireRecord, Outcome
from manylabel.eval.schedule.rules import ScheduleFacts, decide
from manylabel.eval.schedule.store import FireStore
from manylabel.storage.errors import StorageError

_NO_HOST = ""  # Nobody here holds the lock of a host's worker: heartbeats say who lives.


@dataclass(frozen=True)
class ScheduleStatus:
    """A schedule as its files tell it.

    Attributes:
        asked_at: When it was so.
        latest: The last attempt that was begun, or time that was passed over; None: none yet.
        decisions: What would be done now; empty where that cannot be said.
        problem: Why something could not be read.
    """

    name: str
    config: ScheduleConfig
    asked_at: datetime
    latest: FireRecord | None = None
    decisions: tuple[Decision, ...] = ()
    problem: str | None = None

    @property
    def next_due(self) -> datetime | None:
        """The next time of a cron line, UTC, if nothing is to be done before it."""
        return self.decisions[0].next_due if self.decisions else None


def schedule_statuses(
    root: Path,
    schedules: Schedules,
    now: datetime,
    runs: Mapping[str, Sequence[RunFacts]] | None = None,
) -> list[ScheduleStatus]:
    """Of each schedule, in the order of the settings; reads records only and writes nothing.

    Args:
        runs: By schedule for new checkpoints; None: what those would do next is not said.
    """
    return [
        _status(FireStore(root), name, config, schedules, now, runs)
        for name, config in schedules.schedules.items()
    ]


def _status(
    store: FireStore,
    name: str,
    config: ScheduleConfig,
    schedules: Schedules,
    now: datetime,
    runs: Mapping[str, Sequence[RunFacts]] | None,
) -> ScheduleStatus:
    try:
        if runs is None and not config.is_cron:  # A page has no time to read thousands of records.
            return ScheduleStatus(name, config, now, store.last_written(name))
        fires = store.fires(name, config)
        since = (store.known_since(name, config) if config.is_cron else None) or now
    except StorageError as error:
        return ScheduleStatus(name, config, now, problem=str(error))
    latest = max(fires, key=lambda fire: fire.started, default=None)
    facts = ScheduleFacts(since, fires, () if runs is None else runs.get(name, ()))
    decisions = decide(schedules, now, _NO_HOST, {name: facts})
    return ScheduleStatus(name, config, now, latest, tuple(decisions))


def outcome_of(record: FireRecord, now: datetime) -> str:
    """What came of a fire, and why it did what it did, on one line."""
    if record.action is not FireAction.STARTED:
        return f"{str(record.action).replace('_', ' ')}: {record.reason}"
    if record.outcome is None:
        alive = record.is_at_work(now, _NO_HOST)
        return f"{'at work' if alive else 'died'} ({record.host}, {record.pid}): {record.reason}"
    what = str(record.outcome).replace("_", " ")
    if record.outcome is not Outcome.DONE:
        return f"{what}: {record.error}"
    return f"{what}, {_evaluations(record.evaluations)}: {record.reason}"


def _evaluations(evaluations: Sequence[FireEvaluation]) -> str:
    new = [each for each in evaluations if each.new]
    if not new:
        return "nothing new to evaluate"
    return ", ".join(
        f"{each.run}@{each.step}" + (f" {each.verdict}" if each.verdict else "") for each in new
    )
