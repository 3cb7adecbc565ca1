"""The times of cron lines, above all where clocks are put forward and back."""

from datetime import UTC, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

import pytest

from manylabel.eval.schedule.cron import due_times, times_after

PARIS = ZoneInfo("Europe/Paris")
# 2026-03-29 02:00 CET becomes 03:00 CEST; 2026-10-25 03:00 CEST becomes 02:00 CET.
SPRING = datetime(2026, 3, 29, 1, tzinfo=UTC)
AUTUMN = datetime(2026, 10, 25, 1, tzinfo=UTC)


def times(line, after, until, zone=PARIS):
    return [f"{due:%m-%d %H:%M}" for due in due_times(line, zone, after, until)]


def around(change, hours=25.5):
    return change - timedelta(hours=hours), change + timedelta(hours=hours)


@pytest.mark.parametrize(
    ("line", "spring", "autumn"),
    [
        (  # At 03:00 where the clock jumps over it; the first time where it comes twice.
            "30 2 * * *",
            ["03-28 01:30", "03-29 01:00", "03-30 00:30"],
            ["10-24 00:30", "10-25 00:30", "10-26 01:30"],
        ),
        (
            "0 2 * * *",
            ["03-28 01:00", "03-29 01:00", "03-30 00:00"],
            ["10-24 00:00", "10-25 00:00", "10-26 01:00"],
        ),
        (
            "0 3 * * *",
            ["03-28 02:00", "03-29 01:00", "03-30 01:00"],
            ["10-24 01:00", "10-25 02:00", "10-26 02:00"],
        ),
        # Both of its times are jumped over: one fire is enough.
        ("15,45 2 29 3 *", ["03-29 01:00"], []),
    ],
)
def test_fixed_times_come_once_a_day_when_clocks_change(line, spring, autumn):
    assert times(line, *around(SPRING)) == spring
    assert times(line, *around(AUTUMN)) == autumn


@pytest.mark.parametrize("change", [SPRING, AUTUMN])
@pytest.mark.parametrize(
    ("line", "matches"),
    [
        ("*/15 * * * *", lambda local: local.minute % 15 == 0),
        ("20 * * * *", lambda local: local.minute == 20),
        ("*/20 2,3 * * *", lambda local: local.minute % 20 == 0 and local.hour in (2, 3)),
    ],
)
def test_lines_with_a_star_follow_the_clock_as_it_runs(change, line, matches):
    """Against every minute of two days, read off the clock in Paris."""
    after, until = around(change)
    minutes = (after + timedelta(minutes=n) for n in range(1, 51 * 60 + 1))
    expected = [minute for minute in minutes if matches(minute.astimezone(PARIS))]
    assert list(due_times(line, PARIS, after, until)) == expected


@pytest.mark.parametrize("change", [SPRING, AUTUMN])
@pytest.mark.parametrize(
    "line",
    [
        *("30 2 * * *", "0 2 * * *", "0 3 * * *", "15,45 1-3 * * *", "*/30 * * * *", "* 2 * * *"),
        *("5 */2 * * *", "0 0 * * 0", "59 1,2 25-29 * *"),
    ],
)
def test_asking_again_at_any_minute_changes_nothing(change, line):
    """What is due must not depend on when somebody asked: from each minute on, the rest of the same
    times."""
    after, until = around(change, hours=8)
    whole = list(due_times(line, PARIS, after, until))
    assert whole == sorted(set(whole))
    for minutes in range(15 * 60):
        for seconds in (0, 0.5, 59):
            asked = after + timedelta(minutes=minutes, seconds=seconds)
            rest = list(islice(due_times(line, PARIS, asked, until), 3))
            assert rest == [due for due in whole if due > asked][:3], asked


def test_lord_howe_moves_by_half_an_hour():
    zone = ZoneInfo("Australia/Lord_Howe")  # 2026-04-05 02:00 LHDT becomes 01:30 LHST.
    after, until = (datetime(2026, 4, 4, hour, tzinfo=UTC) for hour in (12, 18))
    assert times("45 1 * * *", after, until, zone) == ["04-04 14:45"]


def test_a_month_of_minutes_is_no_limit():
    after = datetime(2026, 1, 1, tzinfo=UTC)
    assert sum(1 for _ in due_times("* * * * *", PARIS, after, after + timedelta(days=30))) == 43200


def test_the_first_time_is_after_the_moment():
    noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
    assert next(times_after("0 12 * * *", ZoneInfo("UTC"), noon)) == noon + timedelta(days=1)
    assert (
        next(times_after("0 12 * * *", ZoneInfo("UTC"), noon - timedelta(milliseconds=1))) == noon
    )
