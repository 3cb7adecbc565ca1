"""Disks that are too small, or that take nothing: mounted in memory, by root."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

AMPLE = 2**30
"""Bytes: more than any command here writes."""
AMPLE_FILES = 2**20


@dataclass(frozen=True)
class Used:
    """Of a disk: bytes and files (inodes)."""

    size: int
    files: int

    def towards(self, other: "Used", share: float) -> "Used":
        """What lies between the two."""
        return Used(
            int(self.size + share * (other.size - self.size)),
            int(self.files + share * (other.files - self.files)),
        )


@dataclass(frozen=True)
class Disk:
    """A file system of its own, whose room can be changed while files lie on it."""

    path: Path

    def room(self, size: int = AMPLE, files: int = AMPLE_FILES) -> None:
        """How much fits on it, in all; it can be written."""
        pages = max(1, size // 4096)
        self._remount(f"rw,size={pages * 4096},nr_inodes={max(1, files)}")

    def read_only(self) -> None:
        """Takes nothing from now on."""
        self._remount("ro")

    def used(self) -> Used:
        """What lies on it."""
        command = ["df", "--output=used,iused", "--block-size=1", str(self.path)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        size, files = map(int, done.stdout.split()[-2:])
        return Used(size, files)

    def _remount(self, options: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{options}", str(self.path)], check=True)


@contextmanager
def mounted(path: Path) -> Iterator[Disk]:
    """An empty disk at a folder that is made; both are removed in the end."""
    path.mkdir(parents=True)
    options = f"size={AMPLE},nr_inodes={AMPLE_FILES}"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "manylabel", str(path)], check=True)
    try:
        yield Disk(path)
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)
        path.rmdir()
