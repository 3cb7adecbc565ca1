"""Progress in a log: lines now and then, the end for certain."""

import io

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


def test_a_stage_without_a_count_is_named_once():
    out = io.StringIO()
    with progress_display("preprocess", Console(file=out), clock=lambda: 0.0) as display:
        for _ in range(2):
            display.update(0, None, "reading the catalog")
        display.update(0, None, "checking images")
    assert out.getvalue().splitlines() == [
        "preprocess: reading the catalog",
        "preprocess: checking images",
    ]


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
