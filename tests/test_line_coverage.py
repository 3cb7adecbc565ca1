"""The figure at the end of `make test`. That lines are noticed is slipcover's, and that ours are,
is the figure itself."""

import json
import sys

import pytest

from tests._line_coverage import SOURCE, CountedFiles, combined, main


@pytest.fixture
def runs(tmp_path):
    """Of two halves of the tests."""
    halves = {
        "units": {"a.py": {"executed_lines": [1, 2], "missing_lines": [3, 4]}},
        "system": {
            "a.py": {"executed_lines": [1, 3], "missing_lines": [2, 4]},
            "b.py": {"executed_lines": [], "missing_lines": [7]},
        },
    }
    for name, files in halves.items():
        (tmp_path / name).write_text(json.dumps(files))
    return [tmp_path / name for name in halves]


def test_a_line_is_run_that_one_of_them_ran(runs):
    assert combined(runs) == {"a.py": (3, 4), "b.py": (0, 1)}


def test_it_is_a_line_of_text_and_fails_below_the_floor(runs, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["", *map(str, runs), "--floor", "60"])
    main()
    assert capsys.readouterr().out == "coverage: 60.0 % of lines (3 of 5)\n"
    monkeypatch.setattr(sys, "argv", ["", *map(str, runs), "--floor", "61"])
    with pytest.raises(SystemExit, match="below 61 %"):
        main()


def test_a_run_that_was_not_made_is_told_in_a_line(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["", str(tmp_path / "*.json"), "--files"])
    with pytest.raises(SystemExit, match=r"error: .*\*\.json: no such file; `make test` writes"):
        main()


def test_files_that_miss_the_most_come_first(runs, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["", str(runs[0]), str(runs[1]), "--files"])
    main()
    assert capsys.readouterr().out.splitlines()[:2] == [
        "    1 of    4 not run: a.py",
        "    1 of    1 not run: b.py",
    ]


def test_ours_are_counted_but_for_compiled_ones():
    files = CountedFiles()
    assert files.matches(str(SOURCE / "storage" / "tables.py"))
    assert files.matches(str(SOURCE / "storage" / "compiled.py"))
    assert not files.matches(str(SOURCE / "eval" / "ranking" / "kernels.py"))
    assert not files.matches(json.__file__)
    assert not files.matches(__file__)
    assert not files.matches(None)
