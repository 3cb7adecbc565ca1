"""Progress in a log: lines now and then, the end for certain."""

import io

import pytest
from rich.console import Console

from manylabel.pipeline.progress import progress_display


def lines_of(steps):
    """What is printed for (second, done) pairs of a job of 100 images."""
    now = 0.0
    out = io.StringIO()
    with progress_display("train", Console(file=out, width=40), clock=lambda: now) as display:
        for second, done in steps:
            now = second
            display.update(done, 100, "a note that is longer than the forty columns of the console")
    return out.getvalue().splitlines()


def test_a_line_is_not_wrapped_and_says_how_far():
    (line,) = lines_of([(0, 25)])
    assert line.startswith("train: 25 of 100  25%")
    assert line.endswith("of the console")


def test_lines_keep_their_distance_in_time():
    assert len(lines_of([(0, 1), (3, 2), (6, 3), (9.9, 4), (10, 5), (12, 6)])) == 2


def test_the_end_is_shown_at_once_and_only_once():
    lines = lines_of([(0, 1), (1, 100), (2, 100)])
    assert [line[:15] for line in lines] == ["train: 1 of 100", "train: 100 of 1"]


def test_work_without_a_count_is_told_by_its_note():
    out = io.StringIO()
    with progress_display("serve", Console(file=out), clock=lambda: 0.0) as display:
        for _ in range(2):
            display.update(0, None, "beginning")
        display.update(0, None, "at work")
    assert out.getvalue().splitlines() == ["serve: beginning", "serve: at work"]


def parts_of(steps, **console):
    """What is printed for (second, part, done, total) tuples, at four images a second."""
    now = 0.0
    out = io.StringIO()
    with progress_display("work", Console(file=out, **console), clock=lambda: now) as display:
        for second, name, done, total in steps:
            now = second
            display.part(name, done, total, "images", 4.0 if done else 0.0)
    return out.getvalue()


def test_each_part_has_a_line_when_it_ends_however_short_it_was():
    steps = [(0, "reading", 0, None), (1, "sorting", 5, 10), (1, "sorting", 10, 10), (2, "a", 7, 8)]
    assert parts_of(steps).splitlines() == [
        "reading",
        "sorting: 10 of 10 100%  4 images/s",
        "a: 7 of 8  87%  4 images/s, 0 s left",
    ]


@pytest.mark.parametrize("total", [None, 1000])
def test_a_long_part_has_a_line_every_ten_seconds(total):
    lines = parts_of([(second / 2, "checking", 2 * second, total) for second in range(61)])
    assert [line.split()[1] for line in lines.splitlines()] == ["40", "80", "120"]


def test_a_count_that_stands_still_is_told_once():
    lines = parts_of([(second, "looking", 3, None) for second in range(0, 60, 5)])
    assert lines.splitlines() == ["looking: 3 images  4 images/s"]


def test_what_is_begun_is_shown_while_nothing_is_done():
    """A shard of thousands of pictures counts when it is whole."""
    now, out = 0.0, io.StringIO()
    with progress_display("work", Console(file=out, width=99), clock=lambda: now) as display:
        for now in range(0, 31, 5):
            display.part("writing shards", 0, 9000, "images", 0.0, now * 4_000_000)
    assert out.getvalue().splitlines() == [
        "writing shards: 0 of 9,000   0%  40 MB under way",
        "writing shards: 0 of 9,000   0%  80 MB under way",
        "writing shards: 0 of 9,000   0%  120 MB under way",
    ]


@pytest.mark.parametrize(
    ("total", "left"),
    [(41, "10 s"), (361, "90 s"), (4 * 60 * 90 + 1, "90 min"), (4 * 3600 * 90 + 1, "90 h")],
)
def test_the_time_left_is_in_a_unit_that_can_be_read(total, left):
    (line,) = parts_of([(0, "checking", 1, total)]).splitlines()
    assert line.endswith(f"4 images/s, {left} left")


def test_a_terminal_shows_the_present_part_in_its_bar():
    steps = [(0, "reading", 10, 10), (0, "finding", 7, None)]
    shown = parts_of(steps, force_terminal=True, width=100)
    last = shown.split("\x1b[2K")[-1]  # What stands there when the line was last cleared.
    assert all(text in last for text in ("finding", "7 images", "4 images/s"))
    assert "reading" not in last
    assert "10/10" not in last


def test_a_terminal_has_a_bar():
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=100)
    with progress_display("train", console) as display:
        display.update(0, None, "beginning")
        display.update(25, 100, "going well")
        display.line("[bold] stays as it is")
    assert "25/100" in out.getvalue()
    assert "going well" in out.getvalue()
    assert "[bold] stays" in out.getvalue()
