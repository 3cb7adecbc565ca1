"""What work costs that runs in a process of its own, which says so on its last line."""

import json
import os
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

WATCH_SECONDS = 0.5


class Measured(NamedTuple):
    """Of one piece of work.

    Attributes:
        cpu_seconds: User and system, of all threads and of the processes that have ended.
        peak_mib: Most of the memory that was in use since the process began.
    """

    seconds: float
    cpu_seconds: float
    peak_mib: float


def measure(work: Callable[[], object]) -> Measured:
    """Does it once."""
    cpu, began = sum(os.times()[:4]), time.monotonic()
    work()
    seconds, cpu = time.monotonic() - began, sum(os.times()[:4]) - cpu
    return Measured(seconds, cpu, _peak_mib())


def _peak_mib() -> float:
    """Not `ru_maxrss`, in which a process has its parent's memory too."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024


def tell(measured: Measured) -> None:
    """Prints it for `told`."""
    print(json.dumps(measured))


def told(
    command: Sequence[str],
    environment: dict[str, str] | None = None,
    cwd: Path | None = None,
) -> Measured:
    """What a process told of itself."""
    return _told(command, environment, cwd, lambda process: 0.0)


def told_with_children(
    command: Sequence[str],
    environment: dict[str, str] | None = None,
    cwd: Path | None = None,
) -> Measured:
    """Likewise, where the memory is that of the process and all that it started, together."""
    return _told(command, environment, cwd, _watched_mib)


def _told(
    command: Sequence[str],
    environment: dict[str, str] | None,
    cwd: Path | None,
    watch: Callable[[subprocess.Popen[str]], float],
) -> Measured:
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=environment, cwd=cwd
    ) as process:
        seen = watch(process)
        printed, _ = process.communicate()
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    measured = Measured(*json.loads(printed.splitlines()[-1]))
    return measured._replace(peak_mib=max(seen, measured.peak_mib))


def _watched_mib(process: subprocess.Popen[str]) -> float:
    """The most that was seen until it ended; pages that processes share are counted once."""
    most = 0.0
    while process.poll() is None:
        shares = [_share_mib(each) for each in [process.pid, *descendants(process.pid)]]
        most = max(most, sum(shares))
        time.sleep(WATCH_SECONDS)
    return most


def _share_mib(process: int) -> float:
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0  # It has ended.
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0) / 1024


def descendants(parent: int) -> list[int]:
    """The processes that it started, directly or not."""
    children: dict[int, list[int]] = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # It ended between the listing and the reading.
        children.setdefault(int(fields[1]), []).append(int(status.parent.name))
    found, waiting = [], [parent]
    while waiting:
        below = children.get(waiting.pop(), [])
        found += below
        waiting += below
    return found


def median(measured: Sequence[Measured]) -> Measured:
    """Of each figure by itself."""
    return Measured(*map(statistics.median, zip(*measured, strict=True)))
