"""What pages read: files below ROOT, each read again only when it has changed."""

import datetime
import shlex
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

from manylabel.deploy.dashboard.errors import NotThere
from manylabel.trainer.runs.checkpoint import DIRECTORY as CHECKPOINTS
from manylabel.trainer.runs.directory import DESCRIPTION
from manylabel.trainer.runs.metrics_log import JSON_LINES

_T = TypeVar("_T")

_EVALUATIONS = "evals"
_RUN_FILES = (DESCRIPTION, _EVALUATIONS)
_LONGEST_NAME = 255
"""Bytes; file systems have no longer names."""

_MOST_KEPT = 5_000
"""Files of which something is kept, some words of most of them: 10 runs have 2,000 evaluations."""


@dataclass(frozen=True)
class Identity:
    """What tells whether a file is still the one that was read; files appear by rename."""

    modified_ns: int
    size: int
    inode: int

    @classmethod
    def of(cls, path: Path) -> "Identity":
        """Raises FileNotFoundError where there is none."""
        status = path.stat()
        return cls(status.st_mtime_ns, status.st_size, status.st_ino)


class Store:
    """A folder of runs, opened for reading by any number of threads.

    Args:
        root: The folder.
        now: The clock, with its zone.
    """

    def __init__(
        self,
        root: Path,
        now: Callable[[], datetime.datetime] = lambda: datetime.datetime.now(datetime.UTC),
    ) -> None:
        self.root = root
        self.now = now
        self._kept: OrderedDict[tuple[Path, object], tuple[Identity, Any]] = OrderedDict()
        self._lock = threading.Lock()

    def cached(self, path: Path, read: Callable[[Path], _T], *key: object) -> _T:
        """What `read(path)` returns, kept until the file changes.

        Args:
            read: A function of a module, or defined in one: its name and `key` name what is kept.
            key: Whatever else the result depends on.

        Raises:
            FileNotFoundError, and whatever `read` raises, which is not kept.
        """
        place = path, (read.__module__, read.__qualname__, *key)
        identity = Identity.of(path)
        with self._lock:
            kept = self._kept.get(place)
            if kept is not None and kept[0] == identity:
                self._kept.move_to_end(place)
                return cast(_T, kept[1])
        value = read(path)
        with self._lock:
            self._kept[place] = identity, value
            self._kept.move_to_end(place)
            while len(self._kept) > _MOST_KEPT:
                self._kept.popitem(last=False)
        return value

    def run_names(self) -> list[str]:
        """Names of the runs, and of folders of evaluations of other tools' predictions, in the
        order of the alphabet; only those that are text."""
        found = {path.parent for file in _RUN_FILES for path in self.root.glob(f"*/{file}")}
        return sorted(path.name for path in found if path.name.isprintable() and self.holds(path))

    def is_scored(self, name: str) -> bool:
        """Whether it holds evaluations of another tool's predictions, and is no run of ours."""
        run = self.root / name
        is_ours = any((run / each).exists() for each in (DESCRIPTION, CHECKPOINTS, JSON_LINES))
        return not is_ours and (run / _EVALUATIONS).is_dir()

    def run(self, name: str) -> Path:
        """Where a run lies; raises NotThere for a name that is none, or leads out of ROOT."""
        path = self.root / name
        command = f"manylabel runs {shlex.quote(str(self.root))}"
        is_long = len(name.encode(errors="replace")) > _LONGEST_NAME
        if name in ("", ".", "..") or "/" in name or "\\" in name or "\0" in name or is_long:
            raise NotThere(f"{name[:80]!r} is no name of a run", command)
        if not self.holds(path) or not path.is_dir():
            raise NotThere(f"There is no run {name} in {self.root}", command)
        return path

    def holds(self, path: Path) -> bool:
        """Whether a path lies in ROOT after all links are followed."""
        return path.resolve().is_relative_to(self.root.resolve())
