"""What a machine must see of the places that all share, before it may look at pictures.

A machine on which a folder is not mounted would reject every picture as missing, and write shards
that nobody finds.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from uuid import uuid4

from upath import UPath

from manylabel.storage.locations import is_local

_ENTRIES = 20
"""Of a folder of pictures: any will do, as others may go while the job runs."""


@dataclass(frozen=True)
class Sight:
    """What the machine of the command sees.

    Attributes:
        images: folders of pictures, and some names in each; none where it is not on a disk.
        mark: a file that lies beside the plan while the job runs.
    """

    images: tuple[tuple[UPath, tuple[str, ...]], ...]
    mark: UPath

    def missing(self) -> str | None:
        """What is not seen here: the folder and what it lacks."""
        for folder, entries in self.images:
            if entries and not any((folder / name).exists() for name in entries):
                return f"does not see the pictures in {folder}"
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
def sight(images: Sequence[UPath], plan: UPath) -> Iterator[Sight]:
    """Of these folders; the mark has the name of a temporary file, as who cleans up knows them.

    Raises:
        OSError: the mark cannot be written.
    """
    entries = tuple((folder, tuple(islice(_names(folder), _ENTRIES))) for folder in images)
    mark = plan / f"shared.{uuid4().hex}.tmp"
    mark.write_bytes(b"")
    try:
        yield Sight(entries, mark)
    finally:
        mark.unlink(missing_ok=True)


def _names(folder: UPath) -> Iterator[str]:
    return (path.name for path in folder.iterdir()) if is_local(folder) else iter(())
