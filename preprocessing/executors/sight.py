"""What a machine must see of the places that all share, before it may look at pictures.

A machine on which a folder is not mounted would reject every picture as missing, and write shards
that nobody finds.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from uuid import uuid4

from upath import UPath

from manylabel.storage.locations import is_local

_ENTRIES = 20
"""Of the pictures' folder: any will do, as others may go while the job runs."""


@dataclass(frozen=True)
class Sight:
    """What the machine of the command sees.

    Attributes:
        entries: some names in the folder of the pictures; none where it is not on a disk.
        mark: a file that lies beside the plan while the job runs.
    """

    images: UPath
    entries: tuple[str, ...]
    mark: UPath

    def missing(self) -> str | None:
        """What is not seen here: the folder and what it lacks."""
        if self.entries and not any((self.images / name).exists() for name in self.entries):
            return f"does not see the pictures in {self.images}"
        if not self.mark.is_file():
            return f"does not see the dataset in {self.mark.parent.parent}"
        return None

    def leave_mark(self, name: str) -> None:
        """Writes beside the mark, for the machine of the command to find.

        Raises:
            OSError: it cannot be written.
        """
        self.mark_of(name).write_bytes(b"")

    def mark_of(self, name: str) -> UPath:
        """What `leave_mark` writes."""
        return self.mark.with_name(f"{name}-{self.mark.name}")


@contextmanager
def sight(images: UPath, plan: UPath) -> Iterator[Sight]:
    """Of these folders; the mark has the name of a temporary file, as who cleans up knows them.

    Raises:
        OSError: the mark cannot be written.
    """
    entries: tuple[str, ...] = ()
    if is_local(images):
        entries = tuple(path.name for path in islice(images.iterdir(), _ENTRIES))
    mark = plan / f"shared.{uuid4().hex}.tmp"
    mark.write_bytes(b"")
    try:
        yield Sight(images, entries, mark)
    finally:
        mark.unlink(missing_ok=True)
