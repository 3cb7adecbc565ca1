"""Whether the shards of a dataset are the files that its manifest lists, without reading them.

By their sizes, which one listing of a folder tells, and where they are near by their first and last
bytes: what a clone without its large files, a copy that was cut or a text-mode transfer leaves is
named before anyone works with it. That every byte is right, `manylabel dataset verify` says.
"""

import stat
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from shlex import quote
from typing import TypeVar

from upath import UPath

from manylabel.storage.dataset import Dataset, unreachable
from manylabel.storage.errors import (
    CorruptRecordError,
    DamagedShardError,
    UnreachableShardError,
    UnreachableTableError,
)
from manylabel.storage.foreign_shards import begins_as_another, told_apart
from manylabel.storage.listing import file_sizes
from manylabel.storage.locations import is_local
from manylabel.storage.manifest import MANIFEST_NAME, RecordShard
from manylabel.storage.schema import SplitName
from manylabel.storage.stand_ins import read_head, text_instead
from manylabel.storage.tfrecord import HEADER_BYTES, payload_length

AT_ONCE = 32
"""Files that are asked for at a time: storage far away answers as many in the time of one."""

_SMALL_INDEX = 1024
"""Bytes. The columns of an index alone take more; what is smaller is something else."""

_PARQUET = b"PAR1"

_T = TypeVar("_T")
_R = TypeVar("_R")


def check_shards(dataset: Dataset, *splits: SplitName) -> None:
    """Whether the files of these splits are those that the manifest lists, as far as can be told.

    Raises:
        DamagedShardError: one is not, or is not there; it says which, what lies there, how many
            more there are, and what to do.
        UnreachableShardError: the storage failed.
    """
    shards = [shard for split in splits for shard in dataset.split(split).shards]
    problems = list(find_problems(dataset, shards).values())
    if problems:
        more = f" (and {len(problems) - 1:,} more)" if len(problems) > 1 else ""
        command = f"manylabel dataset verify {quote(str(dataset.root))}"
        raise DamagedShardError(
            f"{problems[0]}{more}; `{command}` lists all, and writes them again with --repair"
        )


def find_problems(dataset: Dataset, shards: Sequence[RecordShard]) -> dict[str, str]:
    """What is wrong with the shards and their indexes, by their paths in the manifest, in order.

    Raises:
        UnreachableShardError: the storage failed.
    """
    sizes = _listed_sizes(dataset, shards)
    same_size = Counter(shard.bytes for shard in shards)
    look = _Look(dataset, sizes, {size for size, number in same_size.items() if number > 1})
    found: dict[str, str] = {}
    for shard, (of_shard, of_index) in zip(shards, at_once(look.at, shards), strict=True):
        if of_shard is not None:
            found[shard.path] = of_shard
        if of_index is not None:
            found[shard.index_path] = of_index
    return found


def at_once(
    function: Callable[[_T], _R], items: Iterable[_T], threads: int = AT_ONCE
) -> Iterator[_R]:
    """Results in the order of the items; what is not begun when the caller stops never is."""
    pool = ThreadPoolExecutor(threads)
    try:
        yield from pool.map(function, items)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _listed_sizes(dataset: Dataset, shards: Sequence[RecordShard]) -> dict[str, int]:
    """Bytes of the files that are there, by their paths in the manifest."""
    paths = {path for shard in shards for path in (shard.path, shard.index_path)}
    sizes: dict[str, int] = {}
    for folder in sorted({path.rpartition("/")[0] for path in paths}):
        try:
            listed = file_sizes(dataset.root / folder)
        except OSError as error:
            raise unreachable(dataset.root / folder, error) from error
        sizes |= {f"{folder}/{name}".lstrip("/"): size for name, size in listed.items()}
    return {path: size for path, size in sizes.items() if path in paths}


class _Look:
    """Looks at one shard and its index.

    Args:
        sizes: Bytes by path.
        ambiguous: Sizes that several shards have, so that one may lie in another's place.
    """

    def __init__(self, dataset: Dataset, sizes: dict[str, int], ambiguous: set[int]) -> None:
        self._dataset = dataset
        self._sizes = sizes
        self._ambiguous = ambiguous
        self._is_near = is_local(dataset.root)

    def at(self, shard: RecordShard) -> tuple[str | None, str | None]:
        """What is wrong with the shard, and with its index."""
        return self._guarded(shard.path, self._shard, shard), self._guarded(
            shard.index_path, self._index, shard
        )

    def _guarded(
        self, relative: str, look: Callable[[RecordShard], str | None], shard: RecordShard
    ) -> str | None:
        path = self._dataset.path(relative)
        try:
            if relative not in self._sizes:  # A link, or one that came just now.
                status = path.stat()
                if not stat.S_ISREG(status.st_mode):
                    return _not_listed(path)
                self._sizes[relative] = status.st_size
            return look(shard)
        except PermissionError as error:
            return f"{path}: expected a file that can be read, received: {error.strerror}"
        except FileNotFoundError:
            return _not_listed(path)
        except UnreachableTableError as error:  # Of an index, by which shards are told apart.
            raise UnreachableShardError(str(error)) from error
        except OSError as error:
            raise unreachable(path, error) from error

    def _shard(self, shard: RecordShard) -> str | None:
        size = self._sizes[shard.path]
        path = self._dataset.path(shard.path)
        wrong = size != shard.bytes or (self._is_near and not _begins_and_ends(path, size))
        if not wrong and size in self._ambiguous and size:
            wrong = begins_as_another(self._dataset, shard)
        if not wrong:
            return None
        return (
            f"{path}: expected the {shard.bytes:,} bytes that {MANIFEST_NAME} lists, received "
            f"{told_apart(self._dataset, shard, size)}"
        )

    def _index(self, shard: RecordShard) -> str | None:
        size = self._sizes[shard.index_path]
        path = self._dataset.path(shard.index_path)
        if not self._is_near and size >= _SMALL_INDEX:
            return None
        head = read_head(path)
        if head.startswith(_PARQUET) and (not self._is_near or _tail(path, size, 4) == _PARQUET):
            return None
        found = text_instead(head)
        if found is None:
            cut = "a Parquet file that was cut short" if head[:4] == _PARQUET else "another file"
            return f"{path}: expected an index, received {cut} of {size:,} bytes; copy it again"
        return f"{path}: expected an index, received {found}"


def _begins_and_ends(path: UPath, size: int) -> bool:
    """Whether the first record's header is sound, and the end is no zeros."""
    if not size:
        return True
    try:
        payload_length(read_head(path, HEADER_BYTES))
    except CorruptRecordError:
        return False
    return any(_tail(path, size, 16))


def _tail(path: UPath, size: int, length: int) -> bytes:
    with path.open("rb") as file:
        file.seek(max(0, size - length))
        return bytes(file.read(length))


def _not_listed(path: UPath) -> str:
    """Of a file that no listing has: something else has its name, or nothing has."""
    if is_local(path) and path.is_symlink() and not path.exists():
        target = str(path.readlink())
        fetch = "run `git annex get` there" if "annex/objects" in target else "copy the file itself"
        return f"{path}: expected a file, received a link to {target}, which is not there; {fetch}"
    if path.is_dir():
        return f"{path}: expected a file, received a folder; copy the file again"
    return f"{path}: expected a file that {MANIFEST_NAME} lists, found none; copy it again"
