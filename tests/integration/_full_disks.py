"""Every command that writes, on disks that are full or that take nothing, as root.

    python -m tests.integration._full_disks [--only PATTERN] [--inputs DIR]

Each command runs with a small disk of its own, in memory, in the place where it writes. First there
is ample room, which shows how much it takes; then again and again there is a part of that, there
are too few inodes, the disk is read-only. Each time it must end with exit code 2 and in one line
that says what is wrong and where; and once there is room, the same command must come to its end
with the result that the first one had. Prints a line for each, in about half an hour on two cores,
and ends with 1 if anything was otherwise.

`--inputs` is a folder for what the commands read, which is made where it is missing.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.integration._full_disks_cases import Case, cases, make_inputs, serving
from tests.integration._small_disks import Disk, Used, mounted

LONGEST = 300.0  # seconds that a command may take
_OURS = re.compile("Traceback|internal error|RayTaskError|BrokenProcessPool|Exception ignored")


@dataclass(frozen=True)
class Way:
    """How a disk is made too small.

    Attributes:
        share: of what the command takes, how much there is.
        wanted: what must be said of it.
    """

    name: str
    share: float
    wanted: str = "No space left on device"

    def __str__(self) -> str:
        return f"{self.share:.0%} of the {self.name}" if self.name != "writing" else "read-only"

    def prepare(self, disk: Disk, before: Used, after: Used) -> None:
        """Makes it so."""
        there = before.towards(after, self.share)
        match self.name:
            case "bytes":
                disk.room(size=there.size)
            case "inodes":
                disk.room(files=there.files)
            case "writing":
                disk.read_only()


WAYS = (
    *(Way("bytes", share) for share in (0.0, 0.3, 0.6, 0.9)),
    *(Way("inodes", share) for share in (0.0, 0.5)),
    Way("writing", 0.0, "Read-only file system"),
)


def run(case: Case, inputs: Path) -> subprocess.CompletedProcess[str]:
    """A command to its end."""
    return subprocess.run(
        [str(Path(sys.executable).with_name("manylabel")), *case.arguments],
        cwd=inputs,
        env=os.environ | case.environment,
        capture_output=True,
        text=True,
        timeout=LONGEST,
        check=False,
    )


@contextmanager
def disk_of(case: Case, inputs: Path) -> Iterator[Disk]:
    """With what lies on it at first; what the command writes elsewhere is removed before it."""
    shutil.rmtree(inputs / "elsewhere", ignore_errors=True)
    with mounted(inputs / "disk") as disk:
        for name in case.copied:
            shutil.copytree(inputs / name, disk.path / name, symlinks=True)
        yield disk


def faults(case: Case, way: Way, done: subprocess.CompletedProcess[str]) -> list[str]:
    """What is wrong with the end of a command that had too little room."""
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    told = {
        f"exit code {done.returncode}": done.returncode == 2,
        f"{len(lines)} lines": len(lines) == 1,
        "does not say what": way.wanted in "".join(lines),
        "does not say where": case.place in "".join(lines),
        "names a file that nobody knows": ".tmp" not in "".join(lines),
        "as if it was our mistake": not _OURS.search(done.stdout + done.stderr),
    }
    return [fault for fault, is_well in told.items() if not is_well]


def try_way(
    case: Case, way: Way, inputs: Path, before: Used, after: Used, expected: object
) -> Iterator[str]:
    """What is wrong with one way; and what was said, last."""
    with disk_of(case, inputs) as disk:
        way.prepare(disk, before, after)
        done = run(case, inputs)
        said = done.stderr.strip() or "nothing"
        if done.returncode == 0 and case.result(inputs) == expected:
            said = "it fits"
        else:
            yield from faults(case, way, done)
        disk.room()
        again = run(case, inputs)
        if again.returncode != 0:
            yield f"again: exit code {again.returncode}, {again.stderr.strip()}"
        elif (result := case.result(inputs)) != expected:
            yield f"again: expected {expected}, received {result}"
    yield said


def try_case(case: Case, inputs: Path) -> bool:
    """Whether all went well; tells of each way."""
    with disk_of(case, inputs) as disk:
        before = disk.used()
        done = run(case, inputs)
        assert done.returncode == 0, f"{case.name}: {done.stderr}"
        after, expected = disk.used(), case.result(inputs)
    well = True
    for way in WAYS:
        if way.name in case.without:
            continue
        *wrong, said = try_way(case, way, inputs, before, case.takes or after, expected)
        well = well and not wrong
        verdict = f"WRONG ({'; '.join(wrong)})" if wrong else "well"
        print(f"{case.name}, {way}: {verdict}: {said}", flush=True)
    return well


def main() -> None:
    """The recorded run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default=".*")
    parser.add_argument("--inputs", type=Path)
    arguments = parser.parse_args()
    assert os.geteuid() == 0, "expected root, who may mount disks"
    with tempfile.TemporaryDirectory(prefix="d-") as name:  # short, for Ray's sockets
        inputs = arguments.inputs or Path(name)
        make_inputs(inputs)
        chosen = [case for case in cases(inputs) if re.fullmatch(arguments.only, case.name)]
        with serving(inputs):
            well = [try_case(case, inputs) for case in chosen]
    print(f"{sum(well)} of {len(well)} commands end well", flush=True)
    sys.exit(0 if well and all(well) else 1)


if __name__ == "__main__":
    main()
