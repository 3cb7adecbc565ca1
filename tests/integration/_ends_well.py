"""Commands that are done end well: hundreds of times, on a machine that is busy.

    python -m tests.integration._ends_well [--runs 300] [--at-once 4] [--executors inline,processes]
                                           [--begin 0] [--ordinary-end]

Each run preprocesses a few pictures to a new folder; all share one core, so that threads which a
library has just started are often not there yet when the process ends. A run must end with exit
code 0, its dataset complete and nothing on standard error. With --ordinary-end the interpreter is
taken down as Python does it, which is what `pipeline.cli` avoids: such runs abort now
and then. Exit code 1 if a run did not end well; about 4 s of CPU each.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from manylabel.storage.dataset import Dataset
from manylabel.storage.schema import SplitName
from tests.integration._preprocessing_kills import make_catalog

PICTURES = 8
LONGEST = 240.0  # seconds of a run, of which others may take most
_OURS = ["-m", "manylabel"]
_ORDINARY = [
    "-c",
    "import sys\nfrom manylabel.pipeline import cli\ncli._end = sys.exit\ncli.main()\n",
]


def command(folder: Path, executor: str) -> list[str]:
    """Arguments of `manylabel`."""
    settings = {
        "labels.minimum_count": 1,
        "heldout.size": 0.3,
        "executor": executor,
    }
    sets = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    return [
        *("preprocess", "demo", "--catalog", str(folder / "labels.csv")),
        *(each if each == "--set" else f"preprocessing.{each}" for each in sets),
    ]


def run(folder: Path, interpreter: list[str], executor: str, number: int) -> str | None:
    """What went wrong; None where nothing did."""
    output = folder / f"dataset-{number}"
    done = subprocess.run(
        [sys.executable, *interpreter, *command(folder, executor), "--output", str(output)],
        capture_output=True,
        text=True,
        timeout=LONGEST,
        check=False,
    )
    if done.returncode or done.stderr:
        lines = [done.stdout.strip().splitlines()[-1:], done.stderr.strip().splitlines()[-3:]]
        return f"run {number}, {executor}: exit code {done.returncode}: {lines}"
    records = sum(Dataset.open(output).records(split) for split in SplitName)
    return None if records else f"run {number}, {executor}: no records"


def problems(arguments: argparse.Namespace, folder: Path) -> Iterator[str | None]:
    """Of each run, as they end."""
    make_catalog(folder, pictures=PICTURES)
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    executors = arguments.executors.split(",")
    interpreter = _ORDINARY if arguments.ordinary_end else _OURS
    with ThreadPoolExecutor(arguments.at_once) as pool:
        numbers = range(arguments.begin, arguments.begin + arguments.runs)
        jobs = [
            pool.submit(partial(run, folder, interpreter, executors[n % len(executors)], n))
            for n in numbers
        ]
        for job in jobs:
            yield job.result()


def main() -> None:
    """Runs them; a line for each that did not end well, and how many there were."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=300)
    parser.add_argument("--at-once", type=int, default=4)
    parser.add_argument("--begin", type=int, default=0, help="Number of the first.")
    parser.add_argument("--executors", default="inline,processes")
    parser.add_argument("--ordinary-end", action="store_true")
    arguments = parser.parse_args()
    counts: Counter[bool] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        for problem in problems(arguments, Path(folder)):
            counts[problem is None] += 1
            if problem is not None:
                print(problem, flush=True)
    print(f"{counts[True]} of {counts.total()} runs ended well")
    sys.exit(1 if counts[False] else 0)


if __name__ == "__main__":
    main()
