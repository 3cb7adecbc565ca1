"""Numbers as the issue asks for them, and the same ones in the browser's module."""

import math
import re
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from manylabel.deploy.dashboard import formats

PAGE_JS = Path(formats.__file__).parent / "static" / "page.js"
NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("form", "value", "text"),
    [
        ("map", 0.19104, "0.1910"),
        ("ap", 0.1906, "0.191"),
        ("difference", 0.00961, "+0.0096"),
        ("difference", -0.00961, "−0.0096"),
        ("difference", 0.00004, "0.0000"),
        ("difference", -0.00004, "0.0000"),
        ("difference_ap", -0.0126, "−0.013"),
        ("contribution", 0.000288, "+2.88"),
        ("contribution", -0.000207, "−2.07"),
        ("contribution", -1e-9, "0.00"),
        ("probability", 0.912, "0.91"),
        ("probability", 0.0421, "0.042"),
        ("probability", 0.0002, "<0.001"),
        ("percent", 0.9531, "95.3%"),
        ("count", 12389, "12,389"),
        ("count", -3, "−3"),
        ("samples", 12_800_000, "12.8 M"),
        ("samples", 12_000_000, "12.0 M"),
        ("samples", 640_000, "640 k"),
        ("samples", 999_900, "1.00 M"),
        ("samples", 1_250_000_000, "1.25 G"),
        ("samples", 512, "512"),
        ("measure", 0.0451, "0.0451"),
        ("measure", 1830.4, "1,830"),
        ("measure", 1.2e-6, "1.2e−6"),
        ("measure", -2.5, "−2.5"),
        ("measure", 0.0, "0"),
    ],
)
def test_a_number_reads_as_people_write_it(form, value, text):
    assert formats.FORMATS[form](value) == text


@pytest.mark.parametrize("form", sorted(set(formats.FORMATS) - {"text"}))
def test_no_number_is_no_zero(form):
    assert formats.FORMATS[form](None) == formats.FORMATS[form](math.nan) == "–"


def test_an_interval_has_words_between_its_ends():
    assert formats.interval(-0.0012, 0.0127, formats.difference) == "−0.0012 to +0.0127"
    assert formats.interval(None, 0.1, formats.map_value) == "–"


@pytest.mark.parametrize(
    ("passed", "text"),
    [
        (timedelta(seconds=20), "just now"),
        (timedelta(minutes=5), "5 min ago"),
        (timedelta(hours=3), "3 h ago"),
        (timedelta(days=12), "12 days ago"),
        (timedelta(minutes=-40), "in 40 min"),
    ],
)
def test_how_long_ago(passed, text):
    assert formats.ago(NOW - passed, NOW) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(45, "45 s"), (180, "3 min"), (7_500, "2 h 5 min"), (400_000, "5 days")]
)
def test_durations(seconds, text):
    assert formats.duration(seconds) == text


def test_axes_leave_out_what_says_nothing():
    assert [formats.samples_tick(value) for value in (0, 5e6, 12.5e6)] == ["0", "5 M", "12.5 M"]


def test_one_image_is_no_images():
    assert formats.plural(1, "image") == "1 image"
    assert formats.plural(12_389, "near-duplicate group") == "12,389 near-duplicate groups"


def test_the_browser_knows_every_format():
    block = re.search(r"FORMATS = \{(.*?)\n\};", PAGE_JS.read_text("utf-8"), re.S)
    assert block is not None
    assert set(re.findall(r"^  (\w+)[:,]", block[1], re.M)) == set(formats.FORMATS)


def test_a_time_beyond_the_calendar_is_shown_as_it_stands():
    odd = datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14)))
    assert formats.moment(odd).endswith("-01-01 00:00 UTC+14:00")
    assert formats.moment_iso(odd).startswith("0001-01-01T00:00:00")


def test_a_path_breaks_after_slashes_and_is_escaped():
    assert formats.path("/data/<b>/x") == "/<wbr>data/<wbr>&lt;b&gt;/<wbr>x"


def test_a_time_says_of_which_zone_it_is():
    assert re.fullmatch(r"2026-03-0\d \d\d:\d\d \S+", formats.moment(NOW))
    assert formats.moment(None) == "–"
    assert formats.moment_iso(NOW) == "2026-03-02T12:00:00Z"
