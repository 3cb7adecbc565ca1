"""Processes of this machine, as /proc has them."""

from pathlib import Path


def descendants(parent: int) -> list[int]:
    """The processes that it started, directly or not."""
    children: dict[int, list[int]] = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        if fields := _read(status).rpartition(")")[2].split():
            children.setdefault(int(fields[1]), []).append(int(status.parent.name))
    found, waiting = [], [parent]
    while waiting:
        below = children.get(waiting.pop(), [])
        found += below
        waiting += below
    return found


def is_running(process: int) -> bool:
    """Whether it has not ended, seen or unseen by its parent."""
    state = _read(Path(f"/proc/{process}/stat")).rpartition(")")[2].split()
    return bool(state) and state[0] not in "ZX"


def waits_for_lease(process: int) -> bool:
    """Whether the kernel holds it, because it opens a file that another process has a lease on."""
    return "break_lease" in _read(Path(f"/proc/{process}/wchan"))


def command_of(process: int) -> str:
    """Its arguments, or the name that it gave itself."""
    return _read(Path(f"/proc/{process}/cmdline")).replace("\0", " ").strip()


def _read(path: Path) -> str:
    """Empty for a process that has ended."""
    try:
        return path.read_text("utf-8", "replace")
    except OSError:
        return ""
