"""Numbers as people read them; static/page.js has the same formats by the same names.

A number that is not there (None, NaN) is an en dash, never a zero.
"""

import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, TypeGuard

from markupsafe import Markup

NOTHING = "–"
MINUS = "\N{MINUS SIGN}"
_PER_TEN_THOUSAND = 1e4


def map_value(value: float | None) -> str:
    """A mean average precision: 0.1910."""
    return _fixed(value, 4)


def average_precision(value: float | None) -> str:
    """Of one label or one image: 0.191."""
    return _fixed(value, 3)


def difference(value: float | None) -> str:
    """Of two mean average precisions: +0.0096, −0.0012, 0.0000 where rounding leaves nothing."""
    return _signed(value, 4)


def difference_ap(value: float | None) -> str:
    """Of two average precisions of a label or an image: +0.013."""
    return _signed(value, 3)


def contribution(value: float | None) -> str:
    """A share of a difference in units of 10⁻⁴: 0.000288 is +2.88."""
    return _signed(None if value is None else value * _PER_TEN_THOUSAND, 2)


def probability(value: float | None) -> str:
    """A p or q value: 0.91; what rounds to nothing is below a bound, not zero."""
    if not _present(value):
        return NOTHING
    return "<0.001" if value < 0.001 else _fixed(value, 3 if value < 0.1 else 2)


def percent(share: float | None) -> str:
    """0.953 is 95.3%."""
    return f"{share * 100:.1f}%" if _present(share) else NOTHING


def count(value: float | None) -> str:
    """A whole number: 12,389."""
    return f"{value:,.0f}".replace("-", MINUS) if _present(value) else NOTHING


def samples(value: float | None) -> str:
    """Images seen, in three digits: 12.8 M, 640 k, 512."""
    if not _present(value):
        return NOTHING
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= 0.9995 * size:
            scaled = value / size
            digits = max(0, 2 - int(math.log10(max(scaled, 1.0))))
            return f"{scaled:.{digits}f} {unit}"
    return f"{value:.0f}"


def samples_tick(value: float) -> str:
    """On an axis, whose values are round: 10 M."""
    text, _, unit = samples(value).partition(" ")
    return f"{text.rstrip('0').rstrip('.') if '.' in text else text} {unit}".rstrip()


def measure(value: float | None) -> str:
    """A quantity of any size in three digits: 0.045, 1.2e−6, 1,830."""
    if not _present(value):
        return NOTHING
    if value and not 1e-3 <= abs(value) < 1e6:
        return scientific(value)
    return (f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}").replace("-", MINUS)


def scientific(value: float) -> str:
    """In three digits with a power of ten: 1.2e−6."""
    mantissa, exponent = f"{value:.2e}".split("e")
    return f"{float(mantissa):g}e{int(exponent)}".replace("-", MINUS)


def to(low: str, high: str) -> str:
    """The two ends of an interval: +0.0065 to +0.0127."""
    return f"{low} to {high}"


def interval(low: float | None, high: float | None, form: Callable[[float], str]) -> str:
    """The ends in a format of this module; nothing where there is no interval."""
    return NOTHING if low is None or high is None else to(form(low), form(high))


def digest(value: str) -> str:
    """Enough of a hexadecimal digest to tell two apart."""
    return value[:12]


def moment(value: datetime | None) -> str:
    """In this machine's zone, and which that is: 2026-03-01 14:05 CET."""
    return NOTHING if value is None else f"{_in_zone(value, None):%Y-%m-%d %H:%M %Z}"


def moment_iso(value: datetime) -> str:
    """For programs: ISO 8601, UTC."""
    return _in_zone(value, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _in_zone(value: datetime, zone: tzinfo | None) -> datetime:
    """In a zone (None: this machine's); as it is where that is before year 1 or after 9999."""
    try:
        return value.astimezone(zone)
    except OverflowError:
        return value


def ago(value: datetime | None, now: datetime) -> str:
    """How long ago: just now, 5 min ago, 3 h ago, 12 days ago; or in: in 40 min."""
    if value is None:
        return NOTHING
    passed = now - value
    span = _span(abs(passed))
    if span is None:
        return "just now"
    return f"{span} ago" if passed > timedelta(0) else f"in {span}"


def duration(seconds: float) -> str:
    """45 s, 3 min, 2 h 5 min, 4 days."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    return f"{round(hours / 24)} days"


def path(text: object) -> Markup:
    """A path, which lines may break after its slashes."""
    return Markup("/<wbr>").join(str(text).split("/"))


def plural(number: int, noun: str, several: str | None = None) -> str:
    """1 image, 12 images."""
    return f"{number:,} {noun if number == 1 else several or noun + 's'}"


def _span(passed: timedelta) -> str | None:
    minutes = passed.total_seconds() / 60
    if minutes < 1:
        return None
    if minutes < 60:
        return f"{minutes:.0f} min"
    if minutes < 48 * 60:
        return f"{minutes / 60:.0f} h"
    return f"{minutes / 60 / 24:.0f} days"


def _present(value: float | None) -> TypeGuard[float]:
    return value is not None and not math.isnan(value)


def _fixed(value: float | None, digits: int) -> str:
    return f"{value:.{digits}f}".replace("-", MINUS) if _present(value) else NOTHING


def _signed(value: float | None, digits: int) -> str:
    if not _present(value):
        return NOTHING
    text = f"{value:+.{digits}f}"
    return text[1:] if not text.strip("+-0.") else text.replace("-", MINUS)


FORMATS: Mapping[str, Callable[[Any], str]] = {
    "map": map_value,
    "ap": average_precision,
    "difference": difference,
    "difference_ap": difference_ap,
    "contribution": contribution,
    "probability": probability,
    "percent": percent,
    "count": count,
    "samples": samples,
    "measure": measure,
    "text": str,
}
"""Formats of table columns by name: the same names in page.js, for rows that it adds."""
