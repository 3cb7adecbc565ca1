"""The records of fires on disk; see `eval.schedule.records` for what they are.

Besides,
<root>/schedule/since/NAME-DIGEST.json   when a cron line was first seen: earlier times are not due
<root>/schedule/HOST.lock                held by the one process of a host that works, while it does
"""

import fcntl
import os
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import ClassVar, Literal

from manylabel.eval.schedule.config import ScheduleConfig
from manylabel.eval.schedule.records import FireRecord
from manylabel.storage.atomic import create
from manylabel.storage.documents import Document, sha256_of

_RECORD = re.compile(r"(?P<key>[0-9A-Za-z-]+?)(?:\.(?P<attempt>\d+))?\.json")
_DIGITS = 8
_UNUSED_SECONDS = 7 * 24 * 3600  # Much longer than anything that is at work.


class FirstSeen(Document):
    """When a cron line came into the settings."""

    NOUN: ClassVar[str] = "the first sight of a schedule"
    REMEDY: ClassVar[str] = "remove it, and times are due from then on"

    format_version: Literal[1] = 1
    schedule: str
    when: str
    timezone: str
    since: datetime


class FireStore:
    """The files of a root's schedules.

    Args:
        root: The folder of runs, on a local or shared file system.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._directory = root / "schedule"

    def fires(self, schedule: str, config: ScheduleConfig) -> list[FireRecord]:
        """The last attempt of each fire, by key; of a cron line that of the newest fire alone, as
        all before it are settled.

        Raises:
            DocumentError: one is damaged.
        """
        attempts = self._attempts(schedule)
        keys = sorted(attempts)
        return [FireRecord.read(attempts[key]) for key in (keys[-1:] if config.is_cron else keys)]

    def last_written(self, schedule: str) -> FireRecord | None:
        """The record that was written last, without reading the others; None before the first.

        Raises:
            DocumentError: it is damaged.
        """
        paths = list(self._attempts(schedule).values())
        newest = max(paths, key=lambda path: path.stat().st_mtime_ns, default=None)
        return None if newest is None else FireRecord.read(newest)

    def claim(self, record: FireRecord) -> bool:
        """Takes an attempt, or settles what is due without one; False: somebody else did."""
        return create(self.path(record), record.to_bytes())

    def renew(self, record: FireRecord) -> None:
        """Replaces a record that this process has claimed."""
        record.write(self.path(record))

    def path(self, record: FireRecord) -> Path:
        """Where a record lies."""
        attempt = "" if record.attempt == 1 else f".{record.attempt}"
        return self._fires(record.schedule) / f"{record.key}{attempt}.json"

    def log_path(self, schedule: str, key: str) -> Path:
        """Of what happened in all attempts at a fire, below the root."""
        return (self._fires(schedule) / f"{key}.log").relative_to(self._root)

    def since(self, schedule: str, config: ScheduleConfig, now: datetime) -> datetime:
        """When this cron line was first seen under this name: `now`, if it never was."""
        path = self._since(schedule, config)
        first = FirstSeen(schedule=schedule, when=config.when, timezone=config.timezone, since=now)
        if not path.exists():  # Or each time would write a file first.
            create(path, first.to_bytes())
        return FirstSeen.read(path).since

    def known_since(self, schedule: str, config: ScheduleConfig) -> datetime | None:
        """As `since`, but writes nothing: None if it never was seen."""
        path = self._since(schedule, config)
        return FirstSeen.read(path).since if path.is_file() else None

    def forget_others(self, schedules: Collection[tuple[str, ScheduleConfig]]) -> None:
        """Forgets when cron lines were first seen that are not in the settings any more: should
        they come back, no time in between is due."""
        kept = {self._since(*each) for each in schedules}
        for path in self._directory.glob("since/*.json"):
            if path not in kept:
                path.unlink(missing_ok=True)

    @contextmanager
    def sole_worker(self, host: str) -> Iterator[None]:
        """Makes this the only process of the host that works for the root.

        Raises:
            BlockingIOError: another one is at work.
            OSError: the file system has no locks.
        """
        own = self._directory / f"{host}.lock"
        with _removed_after(own):
            own.touch()
            for path in self._directory.glob("*.lock"):  # Of hosts that were switched off at work.
                with suppress(FileNotFoundError):
                    if own.stat().st_mtime - path.stat().st_mtime > _UNUSED_SECONDS:
                        path.unlink()
            yield

    def _fires(self, schedule: str) -> Path:
        return self._directory / "fires" / schedule

    def _since(self, schedule: str, config: ScheduleConfig) -> Path:
        digest = sha256_of(f"{config.when} {config.timezone}".encode())[:_DIGITS]
        return self._directory / "since" / f"{schedule}-{digest}.json"

    def _attempts(self, schedule: str) -> dict[str, Path]:
        """The file of each fire's last attempt."""
        last: dict[str, tuple[int, Path]] = {}
        for path in self._fires(schedule).glob("*.json"):
            if match := _RECORD.fullmatch(path.name):
                attempt = int(match["attempt"] or 1)
                if attempt > last.get(match["key"], (0, path))[0]:
                    last[match["key"]] = attempt, path
        return {key: path for key, (_, path) in last.items()}


@contextmanager
def _removed_after(path: Path) -> Iterator[None]:
    """Holds the lock of a file for the block and removes the file then: where each call has a host
    of its own, as a Kubernetes CronJob's have, there would soon be thousands."""
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        with path.open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not _is_at(path, file.fileno()):
                continue  # Whoever held it removed it after it was opened here: this locks nothing.
            try:
                yield
            finally:
                if _is_at(path, file.fileno()):
                    path.unlink(missing_ok=True)
            return


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
