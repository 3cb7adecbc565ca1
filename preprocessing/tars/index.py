"""Where the files in a tar are, so that one can be read without those before it."""

import threading
from array import array
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass

import numpy as np

from manylabel.preprocessing.tars.walk import Kind, Read, TarError, walk_tar

MAX_MEMBERS = 10_000_000
"""That the indexes of a process hold together, 24 bytes each; one tar may have as many."""

MAX_LINKS = 100_000
"""And sparse files, of a tar: some hundred bytes each."""

_MOST_HOPS = 8
"""From one link to the next."""


@dataclass(frozen=True)
class TarIndex:
    """The files of a tar, by the hash of their names within this process.

    Of a million names the chance that two have the same 64 bits is below 1 in 10 million.

    Attributes:
        keys: int64 [n], ascending.
        offsets: int64 [n], of the first byte of each.
        sizes: int64 [n], in bytes.
        others: What has no bytes of its own in one piece: what it is, and where a link leads.
        damage: Why the tar could not be read to its end; empty if it could.
    """

    keys: np.ndarray
    offsets: np.ndarray
    sizes: np.ndarray
    others: dict[str, tuple[Kind, str]]
    damage: str

    def __len__(self) -> int:
        return len(self.keys) + len(self.others)

    def find(self, name: str) -> tuple[int, int] | Kind | None:
        """Offset and size of a file, or of that to which a link leads; what else it is, and None
        if there is no such member.

        Args:
            name: As `walk.normalised` gives it.
        """
        for _ in range(_MOST_HOPS):
            key = hash(name)
            at = int(np.searchsorted(self.keys, key))
            if at < len(self.keys) and self.keys[at] == key:
                return int(self.offsets[at]), int(self.sizes[at])
            if name not in self.others:
                return None
            kind, name = self.others[name]
            if kind is not Kind.LINK:
                return kind
        return Kind.LINK


def make_index(read: Read, size: int) -> TarIndex:
    """The index of a tar, or of what is before its damage.

    Of members of the same name the last one counts, as when they are unpacked.

    Args:
        read: Gives bytes of the tar.
        size: Of the whole tar, in bytes.
    """
    keys, offsets, sizes = array("q"), array("q"), array("q")
    others: dict[str, tuple[Kind, str]] = {}
    damage = ""
    try:
        for name, offset, length, kind, target in walk_tar(read, size):
            if kind is Kind.FILE:
                keys.append(hash(name))
                offsets.append(offset)
                sizes.append(length)
            elif kind is not Kind.OTHER:
                others[name] = kind, target
            if len(keys) > MAX_MEMBERS or len(others) > MAX_LINKS:
                raise TarError(
                    f"expected at most {MAX_MEMBERS:,} files and {MAX_LINKS:,} links in a tar, "
                    "received more; write several smaller tars"
                )
    except TarError as error:
        damage = str(error)
    backwards = np.array(keys, np.int64)[::-1]
    unique, at = np.unique(backwards, return_index=True)
    at = len(backwards) - 1 - at
    return TarIndex(
        unique, np.array(offsets, np.int64)[at], np.array(sizes, np.int64)[at], others, damage
    )


class IndexCache:
    """Indexes that were made before, those that were not asked for longest given up first.

    Args:
        max_members: Of all together; the last one asked for is kept whatever its size.
    """

    def __init__(self, max_members: int = MAX_MEMBERS) -> None:
        self._max_members = max_members
        self._indexes: OrderedDict[Hashable, TarIndex] = OrderedDict()
        self._members = 0
        self._lock = threading.Lock()

    def get(self, identity: Hashable, make: Callable[[], TarIndex]) -> TarIndex:
        """The index of a tar, made if it is not there.

        Args:
            identity: Other for other bytes: where the tar is, its size, when it was changed.
            make: Is called by one thread at a time.
        """
        with self._lock:
            index = self._indexes.get(identity)
            if index is None:
                index = self._indexes[identity] = make()
                self._members += len(index)
                while self._members > self._max_members and len(self._indexes) > 1:
                    _, oldest = self._indexes.popitem(last=False)
                    self._members -= len(oldest)
            else:
                self._indexes.move_to_end(identity)
            return index
