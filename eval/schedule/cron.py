"""The times that a cron line means.

cronsim reads it by the rules of Debian's cron. Where the clock is put forward over a fixed time,
the time comes right after; where it is put back, it comes once. Lines whose minute or hour begins
with * follow the clock as it runs: what was left out does not come, what is repeated comes twice.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import takewhile
from zoneinfo import ZoneInfo

from cronsim import CronSim


def due_times(line: str, zone: ZoneInfo, after: datetime, until: datetime) -> Iterator[datetime]:
    """The times in (after, until], ascending, each once, in UTC."""
    return takewhile(lambda due: due <= until, times_after(line, zone, after))


def times_after(line: str, zone: ZoneInfo, after: datetime) -> Iterator[datetime]:
    """The times after a moment, ascending, each once, in UTC."""
    newest = after.astimezone(UTC)
    for local in CronSim(line, after.astimezone(zone)):
        due = local.astimezone(UTC)
        # cronsim counts fixed times by the wall: in an hour that is repeated it may answer with one
        # of the first time round, and two times that the clock jumps over become the same one.
        if due > newest:
            newest = due
            yield due
