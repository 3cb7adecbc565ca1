"""Which lines of our packages the tests run: a plugin for pytest, and the figure of several runs.

    python -m pytest -p tests._line_coverage --lines-to units.json tests/storage
    python -m tests._line_coverage units.json system.json --floor 90

Lines are counted where tests run, in pytest's own process. What only a command, a worker of Ray or
a process of preprocessing runs is not counted: those are killed at will, and many leave without
handing in. Nor are files with compiled functions, whose lines numba runs and not Python.
"""

import argparse
import json
import re
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import pytest
import slipcover

SOURCE = Path(__file__).resolve().parent.parent / "src" / "manylabel"
_COMPILED = re.compile(r"^ *@compiled\(", re.MULTILINE)
_COUNTER = pytest.StashKey[slipcover.Slipcover]()


class CountedFiles:
    """Tells slipcover which files to count, by the path that they are imported from.

    Attributes:
        compiled: Files that are not counted.
    """

    def __init__(self) -> None:
        modules = [path for package in SOURCE.iterdir() for path in package.rglob("*.py")]
        self.compiled = frozenset(
            str(path) for path in modules if _COMPILED.search(path.read_text("utf-8"))
        )

    def matches(self, filename: str | Path | None) -> bool:
        """Whether it is one of ours that Python runs."""
        path = str(filename)
        return path.startswith(f"{SOURCE}/") and path not in self.compiled


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--lines-to", type=Path, required=True, help="file for what was run")


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Before anything imports a module of ours."""
    files = CountedFiles()
    counter = slipcover.Slipcover(source=[str(SOURCE)], omit=sorted(files.compiled))
    early_config.stash[_COUNTER] = counter
    slipcover.ImportManager(counter, files).__enter__()


def pytest_unconfigure(config: pytest.Config) -> None:
    path: Path = config.invocation_params.dir / config.getoption("lines_to")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(config.stash[_COUNTER].get_coverage()["files"]), "utf-8")


def combined(paths: Sequence[Path]) -> dict[str, tuple[int, int]]:
    """Lines that any of the runs has run, and lines that there are, by file."""
    run: dict[str, set[int]] = defaultdict(set)
    lines: dict[str, set[int]] = defaultdict(set)
    for path in paths:
        for name, of in json.loads(path.read_text("utf-8")).items():
            run[name].update(of["executed_lines"])
            lines[name].update(of["executed_lines"], of["missing_lines"])
    return {name: (len(run[name]), len(lines[name])) for name in lines}


def main() -> None:
    """Prints the figure; ends with 1 where it is below the floor."""
    parser = argparse.ArgumentParser(description="The share of lines that tests ran.")
    parser.add_argument("paths", nargs="+", type=Path, help="what --lines-to wrote")
    parser.add_argument("--floor", type=float, default=0.0, help="percent")
    parser.add_argument("--files", action="store_true", help="a line for each file, worst first")
    arguments = parser.parse_args()
    for path in arguments.paths:
        if not path.is_file():
            sys.exit(f"error: {path}: no such file; `make test` writes what it has run")
    counts = combined(arguments.paths)
    if arguments.files:
        for name, (run, lines) in sorted(counts.items(), key=lambda item: item[1][0] - item[1][1]):
            print(f"{lines - run:5} of {lines:4} not run: {name}")
    run, lines = (sum(column) for column in zip(*counts.values(), strict=True))
    share = 100 * run / lines
    print(f"coverage: {share:.1f} % of lines ({run} of {lines})")
    if share < arguments.floor:
        sys.exit(f"error: below {arguments.floor:g} %; --files shows where")


if __name__ == "__main__":
    main()
