"""What schedules do, as lines of text."""

from collections.abc import Iterator, Sequence
from datetime import datetime

from manylabel.eval.schedule.decision import Act
from manylabel.eval.schedule.records import FireJob, FireRecord
from manylabel.eval.schedule.status import ScheduleStatus, outcome_of


def fire_line(record: FireRecord) -> str:
    """What came of a fire."""
    return f"{record.schedule}: {outcome_of(record, record.heartbeat)}"


def status_lines(statuses: Sequence[ScheduleStatus]) -> Iterator[str]:
    """Of each schedule what it is, what it did last and why, and what comes next."""
    for status in statuses:
        yield f"{status.name}  {_when(status)}, runs {status.config.runs}"
        if status.problem is not None:
            yield f"  ? {status.problem}"
            continue
        if status.latest is None:
            yield "  last  nothing yet"
        else:
            outcome = outcome_of(status.latest, status.asked_at)
            yield f"  last  {local_time(status.latest.started)}  {outcome}"
            yield from (f"        {command}" for command in status.latest.commands)
            yield from (f"        {_job(job)}" for job in status.latest.jobs)
        yield f"  next  {_next(status)}"


def _job(job: FireJob) -> str:
    return f"job of {job.run}: {job.submission} on {job.address}"


def local_time(moment: datetime) -> str:
    """By this machine's clock."""
    return f"{moment.astimezone():%a %Y-%m-%d %H:%M %Z}"


def _when(status: ScheduleStatus) -> str:
    config = status.config
    if config.is_cron:
        return f"{config.when} {config.timezone}"
    every = config.at_least_every
    return "new checkpoints" + ("" if every is None else f", {every:,} updates apart")


def _next(status: ScheduleStatus) -> str:
    first = status.decisions[0]
    if status.next_due is None:
        return first.reason if first.act is Act.WAIT else f"now: {first.reason}"
    there = status.next_due.astimezone(status.config.zone)
    if there.utcoffset() == status.next_due.astimezone().utcoffset():
        return local_time(status.next_due)
    return f"{local_time(status.next_due)} ({there:%H:%M} in {status.config.timezone})"
