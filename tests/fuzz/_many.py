"""Many cases of every target, for as long as it takes, in processes that may die.

    python -m tests.fuzz._many --cases 20000 --seed 1
    python -m tests.fuzz._many --target images --seed 1 --batch 17 --case 203    # one again

It prints a row for each target and a line for each finding, and exits with 1 if there is any.
"""

import argparse
import json
import math
import resource
import subprocess
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from tests.fuzz._target import attempt, explore, place_of, resident, warm

HERE = Path(__file__).parent
BATCH = 500
"""Cases of a process: what one leaves behind does not pile up."""

_MOST_ROOM = 4 << 30
"""Bytes of addresses that cases may have; some reserve more than they use."""

_SHARES = {"jobs": 0.2}
"""Of the cases; one of these takes as long as many others."""

_DIED = "ended its process, exit code"


def target_names() -> list[str]:
    """Each is a file test_NAME.py with a TARGET and sound cases."""
    return sorted(path.stem.removeprefix("test_") for path in HERE.glob("test_*.py"))


@dataclass
class Tally:
    """What became of a target's cases."""

    cases: int = 0
    seconds: float = 0.0
    slowest: float = 0.0
    peak: int = 0
    verdicts: Counter[str] = field(default_factory=Counter)
    findings: dict[str, list[str]] = field(default_factory=dict)

    def add(self, line: dict[str, Any]) -> None:
        self.cases += 1
        self.seconds += line["seconds"]
        self.slowest = max(self.slowest, line["seconds"])
        self.peak = max(self.peak, line["bytes"])
        self.verdicts[line["verdict"]] += 1

    def find(self, finding: str, again: str) -> None:
        """Findings of one kind at one place are shown once."""
        self.findings.setdefault(": ".join(finding.split(": ")[:2]), []).append(
            f"{finding} {again}"
        )

    def row(self, name: str) -> str:
        accepted = self.verdicts["accepted"]
        refusals = Counter({key: n for key, n in self.verdicts.items() if key != "accepted"})
        top = "; ".join(f"{key} {n:,}" for key, n in refusals.most_common(3))
        return (
            f"{name:14} {self.cases:7,} {accepted:8,} {self.seconds:8.0f} {self.slowest:7.2f} "
            f"{self.peak / 1e6:7.0f} {len(self.findings):8}  {top}"
        )


def main() -> int:
    arguments = _arguments()
    if arguments.batch is not None:
        return _one_batch(arguments)
    names = [arguments.target] if arguments.target else target_names()
    shares = [_SHARES.get(name, 1.0) for name in names]
    print("target           cases accepted  seconds slowest peak MB findings  refused, most often")
    found = 0
    for name, share in zip(names, shares, strict=True):
        tally, each = Tally(), math.ceil(arguments.cases * share / sum(shares))
        for batch in range(-(-each // BATCH)):
            _run(name, arguments.seed, batch, min(BATCH, each - batch * BATCH), tally)
        print(tally.row(name), flush=True)
        for alike in tally.findings.values():
            print(f"  {len(alike)} times, first {alike[0]}", flush=True)
        found += len(tally.findings)
    return 1 if found else 0


def _run(name: str, seed: int, batch: int, cases: int, tally: Tally) -> None:
    """One batch in a process of its own; after a case that ended it, the next cases."""
    first = 0
    while first < cases:
        again = f"--target {name} --seed {seed} --batch {batch}"
        command = [sys.executable, "-m", "tests.fuzz._many", *again.split(), "--number", str(cases)]
        done = subprocess.run(
            [*command, "--from", str(first)], capture_output=True, text=True, check=False
        )
        last = first
        for line in _lines(done.stdout):
            last = line["case"] + 1
            if "finding" in line:
                tally.find(line["finding"], f"({again} --case {line['case']})")
            tally.add(line)
        if done.returncode == 0:
            return
        if done.returncode > 0 and not done.stderr.startswith("Timeout"):
            sys.exit(f"{' '.join(command)}: {done.stderr[-2000:]}")
        tail = " | ".join(done.stderr.strip().splitlines()[:12])
        tally.add({"verdict": "finding", "seconds": 0, "bytes": 0})
        tally.find(f"{_DIED} {done.returncode}: {tail}", f"({again} --case {last})")
        first = last + 1


def _lines(printed: str) -> Iterator[dict[str, Any]]:
    for line in printed.splitlines():
        if line.startswith('{"case"'):
            yield json.loads(line)


def _one_batch(arguments: argparse.Namespace) -> int:
    """Prints a line for each case; of one case alone what it is and the whole error."""
    module = import_module(f"tests.fuzz.test_{arguments.target}")
    seed = arguments.seed * 1_000_003 + arguments.batch
    number = -1
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory) / "case"
        warm(module.TARGET, module.SOUND, folder)
        most = resident("VmSize") + _MOST_ROOM
        resource.setrlimit(resource.RLIMIT_AS, (most, most))

        def on_case(case: Any) -> None:
            nonlocal number
            number += 1
            if arguments.case is not None and number != arguments.case:
                return
            if number < arguments.first:
                return
            line: dict[str, Any] = {"case": number, "verdict": "finding", "seconds": 0, "bytes": 0}
            if arguments.case is not None:
                print(repr(case), flush=True)
            try:
                line["verdict"], cost = attempt(module.TARGET, case, folder)
                line |= {"seconds": cost.seconds, "bytes": cost.bytes}
            except Exception as error:
                told = " ".join(f"{type(error).__name__}: {error}".split())
                line["finding"] = f"{place_of(error)}: {told[:300]}"
                if arguments.case is not None:
                    traceback.print_exc()
            print(json.dumps(line), flush=True)

        explore(module.TARGET.cases, seed, arguments.number, on_case, shrink=False)
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=20_000, help="of all targets together")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--target", choices=target_names())
    parser.add_argument("--batch", type=int, help="of a finding")
    parser.add_argument("--case", type=int, help="of a finding")
    parser.add_argument("--number", type=int, default=BATCH, help="of cases in the batch")
    parser.add_argument("--from", type=int, default=0, dest="first", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
