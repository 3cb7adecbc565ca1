"""Durations as settings have them: 6h, 90m, 1h30m."""

import re
from datetime import timedelta
from typing import Annotated, Any

from pydantic import BeforeValidator

from manylabel.storage.problems import shown

LONGEST = timedelta(days=36500)
"""A hundred years: what is much longer leads to dates that there are not."""

_DURATION = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")


def duration_text(duration: timedelta) -> str:
    """As the settings have it: 1h30m."""
    minutes, seconds = divmod(round(duration.total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = zip((days, hours, minutes, seconds), "dhms", strict=True)
    return "".join(f"{part}{unit}" for part, unit in parts if part) or "0s"


def _duration(value: Any) -> Any:
    if not isinstance(value, str):
        raise ValueError(f"expected a duration such as 6h, 90m or 1h30m, received {shown(value)}")
    match = _DURATION.fullmatch(value.strip())
    try:
        parts = [int(part or 0) for part in match.groups()] if match else [0, 0, 0, 0]
        days, hours, minutes, seconds = parts
        duration = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
    except (OverflowError, ValueError):  # Of that many digits there is no number.
        duration = timedelta.max
    if not duration:
        raise ValueError(f"expected a duration such as 6h, 90m or 1h30m, received {shown(value)}")
    if duration > LONGEST:
        raise ValueError(
            f"expected a duration of at most {duration_text(LONGEST)}, received {shown(value)}"
        )
    return duration


Duration = Annotated[timedelta, BeforeValidator(_duration)]
"""More than nothing, and at most `LONGEST`."""
