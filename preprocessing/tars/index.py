"""Where the files in a tar are, so that one can be read without those before it."""

import threading
from array import array
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass

import numpy as np

from manylabel.preprocessing.tars.headers import BLOCK
from manylabel.preprocessing.tars.walk import Kind, Member, Read, TarError, member_at, walk_tar

MAX_MEMBERS = 32_000_000
"""That the indexes of a process hold together, 8 bytes each; one tar may have as many."""

_MOST_HOPS = 8
"""From one link to the next."""

_MOST_BLOCKS = 1 << 32
"""Of a tar: 2 TiB."""


@dataclass(frozen=True)
class TarIndex:
    """The members of a tar that have bytes, or lead to one that has.

    Attributes:
        keys: uint32 [n], ascending; hashes of their names within this process.
        blocks: uint32 [n]; where the first header of each is, in blocks of 512 bytes.
        size: Of the tar, in bytes.
        damage: Why the tar could not be read to its end; empty if it could.
    """

    keys: np.ndarray
    blocks: np.ndarray
    size: int
    damage: str

    def __len__(self) -> int:
        return len(self.keys)

    def find(self, name: str, read: Read) -> Member | None:
        """A file of this name, or that to which links lead; a LINK that leads to none, or whatever
        else has the name. None if nothing has. Of several the last one, as when they are unpacked.

        Args:
            name: As `walk.normalised` gives it.
            read: Gives bytes of the tar; headers are read again, so that hashes need not be exact.

        Raises:
            TarError: the tar is another one by now.
        """
        found = None
        for _ in range(_MOST_HOPS):
            member = self._find(name, read)
            if member is None or member.kind is not Kind.LINK:
                return member or found
            found, name = member, member.target
        return found

    def _find(self, name: str, read: Read) -> Member | None:
        key = np.uint32(_key(name))
        first, end = (int(self.keys.searchsorted(key, side)) for side in ("left", "right"))
        for block in reversed(self.blocks[first:end].tolist()):
            member = member_at(read, block * BLOCK, self.size)
            if member.name == name:
                return member
        return None


def make_index(read: Read, size: int, *, without: tuple[str, ...] = ()) -> TarIndex:
    """The index of a tar, or of what is before its damage.

    Args:
        read: Gives bytes of the tar.
        size: Of the whole tar, in bytes.
        without: Endings, in lower case, of names that nobody will ask for.
    """
    keys, blocks = array("I"), array("I")
    damage = ""
    try:
        for member in walk_tar(read, size):
            if member.kind is Kind.OTHER or member.name.lower().endswith(without):
                continue
            block = member.header // BLOCK
            if len(keys) == MAX_MEMBERS or block >= _MOST_BLOCKS:
                raise TarError(
                    f"expected a tar of at most {MAX_MEMBERS:,} files and "
                    f"{_MOST_BLOCKS * BLOCK:,} bytes, received more; write several smaller ones"
                )
            keys.append(_key(member.name))
            blocks.append(block)
    except TarError as error:
        damage = str(error)
    order = np.argsort(np.array(keys, np.uint32), kind="stable")
    return TarIndex(
        np.array(keys, np.uint32)[order], np.array(blocks, np.uint32)[order], size, damage
    )


def _key(name: str) -> int:
    return hash(name) & 0xFFFFFFFF


class IndexCache:
    """Indexes that were made before; the one that was not asked for longest is given up first.

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
