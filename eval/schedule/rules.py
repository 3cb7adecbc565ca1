"""What to do now about each schedule: a function of settings, time, records and checkpoints.

Every decision of a cron line is about the first due time that nothing was decided about yet, and
as many after it as it covers. Which time that is follows from the newest record alone, and its
record is named after it: of several processes that decide at once, from records that they read a
moment apart, one claims it and the others decide anew.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import takewhile

from manylabel.eval.schedule.config import CatchUp, Overlap, ScheduleConfig, Schedules
from manylabel.eval.schedule.cron import due_times, times_after
from manylabel.eval.schedule.decision import Act, Decision, failures_of
from manylabel.eval.schedule.durations import duration_text
from manylabel.eval.schedule.progress import Progress, RunFacts, progress_of
from manylabel.eval.schedule.records import (
    STALE,
    FireAction,
    FireRecord,
    Outcome,
    checkpoint_key,
    time_key,
)

ON_TIME = timedelta(minutes=10)
"""With `catch_up: none`, how late a fire may be: what asks may run every few minutes only."""

COUNTED = timedelta(days=366)
"""How far back missed times are counted: where the clock stood in 1970 when a line for each minute
was first seen, there are 30 million."""


@dataclass(frozen=True)
class ScheduleFacts:
    """What the files say about one schedule.

    Attributes:
        since: Earlier times are not due.
        fires: Last attempts, by key; of a cron line the newest is enough.
        runs: Of a schedule for new checkpoints, those it covers.
    """

    since: datetime
    fires: Sequence[FireRecord] = ()
    runs: Sequence[RunFacts] = ()


def decide(
    schedules: Schedules, now: datetime, host: str, facts: Mapping[str, ScheduleFacts]
) -> list[Decision]:
    """What to do now, in this order; at least one decision for each schedule that has facts.

    Args:
        host: Whose only process for these schedules asks: attempts of others there are dead.
        facts: By schedule; one without is left out.
    """
    decisions = []
    for name, config in schedules.schedules.items():
        if name in facts:
            of_schedule = _of_times if config.is_cron else _of_checkpoints
            decisions += of_schedule(name, config, facts[name], now, host)
    return sorted(decisions, key=_turn)


def _turn(decision: Decision) -> tuple[int, int]:
    """What takes no time first, then times, which get late, then checkpoints, oldest first."""
    if decision.act is Act.WAIT:
        return 3, 0
    if decision.act in (Act.GIVE_UP, Act.SKIP, Act.MISS):
        return 0, 0
    return (1, 0) if decision.step is None else (2, decision.step)


def _of_times(
    name: str, config: ScheduleConfig, facts: ScheduleFacts, now: datetime, host: str
) -> list[Decision]:
    newest = facts.fires[-1] if facts.fires else None
    if newest is not None and not newest.is_settled:
        return [_unsettled(name, config, newest, now, host)]
    after = facts.since if newest is None else max(facts.since, newest.due)
    if newest is not None and newest.due - now > STALE:  # More than two clocks should differ.
        reason = (
            f"its newest fire is for {_local(newest.due, config)}, which is yet to come: the clock "
            f"is or was wrong; if it is right now, remove the record {newest.key}"
        )
        return [Decision(name, Act.WAIT, reason, next_due=_next(config, after))]
    next_due = _next(config, after)
    if next_due is None or next_due > now:
        when = "never again" if next_due is None else f"not before {_local(next_due, config)}"
        return [Decision(name, Act.WAIT, f"due {when}", next_due=next_due)]
    # The first names the record; of the others, those of ages ago are not even counted.
    lately = max(next_due, now - config.deadline - COUNTED)
    dues = [next_due, *due_times(config.when, config.zone, lately, now)]
    act, covered, reason = _about(dues, config, newest, now)
    due, others = covered[-1], len(covered) - 1
    if others:
        reason += f"; so for {others:,} earlier time{'s' if others > 1 else ''}"
    return [Decision(name, act, reason, time_key(covered[0]), due, others)]


def _about(
    dues: Sequence[datetime], config: ScheduleConfig, newest: FireRecord | None, now: datetime
) -> tuple[Act, Sequence[datetime], str]:
    """What to do about the first of the due times, how many more that covers, and why."""
    before = newest if newest is not None and newest.action is FireAction.STARTED else None
    if config.overlap is Overlap.SKIP and before is not None:
        overlapping = list(takewhile(lambda due: _came_during(before, due), dues))
        if overlapping:
            reason = f"{_local(overlapping[-1], config)}: the fire before was at work (overlap)"
            return Act.SKIP, overlapping, reason
    late = _prefix(dues, until=now - config.deadline)
    if late:
        reason = (
            f"{_local(late[-1], config)}: more than {duration_text(config.deadline)} ago (deadline)"
        )
        return Act.MISS, late, reason
    queued = before is not None and before.ended is not None and now - before.ended <= ON_TIME
    if config.catch_up is CatchUp.NONE and not queued:
        late = _prefix(dues, until=now - ON_TIME)
        if late:
            reason = (
                f"{_local(late[-1], config)}: more than {duration_text(ON_TIME)} ago (catch_up)"
            )
            return Act.MISS, late, reason
    covered = dues[:1] if config.catch_up is CatchUp.ALL else dues
    return Act.START, covered, f"due at {_local(covered[-1], config)}"


def _of_checkpoints(
    name: str, config: ScheduleConfig, facts: ScheduleFacts, now: datetime, host: str
) -> list[Decision]:
    decisions: list[Decision] = []
    progress = [progress_of(run, config, facts.fires) for run in facts.runs]
    for each in progress:
        for fire in each.unsettled:
            gone = fire not in each.there
            decisions.append(_unsettled(name, config, fire, now, host, is_gone=gone))
        decisions += _new(name, config, each)
    return decisions or [Decision(name, Act.WAIT, _what_is_awaited(progress, config))]


def _new(name: str, config: ScheduleConfig, progress: Progress) -> Iterator[Decision]:
    """Starts for the new checkpoints of a run."""
    for checkpoint, passed_over in progress.new:
        reason = f"step {checkpoint.step:,} of {progress.run} is new"
        if passed_over:
            reason += f"; so for {passed_over:,} older one{'s' if passed_over > 1 else ''}"
        yield Decision(
            name,
            Act.START,
            reason,
            checkpoint_key(progress.run, checkpoint.step, checkpoint.digest),
            coalesced=passed_over,
            run=progress.run,
            step=checkpoint.step,
            checkpoint_digest=checkpoint.digest,
        )


def _what_is_awaited(progress: Iterable[Progress], config: ScheduleConfig) -> str:
    waits = [
        f"{each.run} from step {each.held_after(config) + 1:,} on"
        for each in progress
        if each.held_after(config) >= 0
    ]
    return f"no new checkpoint ({', '.join(waits)})" if waits else "no new checkpoint"


def _unsettled(
    name: str,
    config: ScheduleConfig,
    fire: FireRecord,
    now: datetime,
    host: str,
    *,
    is_gone: bool = False,
) -> Decision:
    """About a fire that was begun and is neither done nor given up."""

    def decision(act: Act, reason: str) -> Decision:
        return Decision(
            name,
            act,
            reason,
            fire.key,
            fire.due,
            fire.coalesced,
            fire.run,
            fire.step,
            fire.checkpoint_digest,
            fire,
        )

    if fire.is_at_work(now, host):
        since = _local(fire.started, config)
        return decision(Act.WAIT, f"at work since {since} on {fire.host}, process {fire.pid}")
    happened = _what_happened(fire)
    if is_gone:
        return decision(Act.GIVE_UP, f"{happened}; its checkpoint is gone or damaged")
    if (failures := failures_of(fire)) > config.retries:
        return decision(Act.GIVE_UP, f"{happened}; {failures} failures, retries: {config.retries}")
    if config.is_cron and now - fire.due > config.deadline:
        return decision(
            Act.GIVE_UP, f"{happened}; more than {duration_text(config.deadline)} ago (deadline)"
        )
    if fire.retry_at is not None and now < fire.retry_at:
        return decision(Act.WAIT, f"{happened}; again at {_local(fire.retry_at, config)}")
    return decision(Act.TRY_AGAIN, f"{happened}; attempt {fire.attempt + 1}")


def _what_happened(fire: FireRecord) -> str:
    if fire.ended is None:
        return f"process {fire.pid} on {fire.host} died"
    stopped = fire.outcome is Outcome.INTERRUPTED
    return f"{'stopped' if stopped else 'failed'}: {fire.error}"


def _came_during(fire: FireRecord, due: datetime) -> bool:
    return fire.first_started <= due and (fire.ended is None or due <= fire.ended)


def _prefix(dues: Sequence[datetime], until: datetime) -> list[datetime]:
    return list(takewhile(lambda due: due <= until, dues))


def _next(config: ScheduleConfig, after: datetime) -> datetime | None:
    return next(times_after(config.when, config.zone, after), None)


def _local(moment: datetime, config: ScheduleConfig) -> str:
    return f"{moment.astimezone(config.zone):%Y-%m-%d %H:%M %Z}"
