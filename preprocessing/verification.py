"""Whether a finished dataset is what its manifest says, byte by byte, wherever it lies now."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from upath import UPath

from manylabel.preprocessing.planning.dataset_plan import NOT_WRITTEN, DatasetPlan
from manylabel.preprocessing.progress import Meter, Stage
from manylabel.preprocessing.writing.shards import file_sha256
from manylabel.storage.dataset import Dataset
from manylabel.storage.errors import (
    CorruptRecordError,
    StorageError,
    UnreachableTableError,
)
from manylabel.storage.manifest import (
    HELDOUT_IMAGES_NAME,
    LABELS_NAME,
    MANIFEST_NAME,
    UNKNOWN_LABELS_NAME,
    RecordShard,
    table_digest,
)
from manylabel.storage.schema import SplitName
from manylabel.storage.shard_files import AT_ONCE, at_once, find_problems, unreachable
from manylabel.storage.tables import read_table, table_parts
from manylabel.storage.tfrecord import iterate_records


@dataclass(frozen=True)
class Damage:
    """A file of a dataset that is not what it should be.

    Attributes:
        path: Relative to the dataset.
        problem: One line, which begins with where the file is.
        shard: Whose records or index it holds; None for the tables.
    """

    path: str
    problem: str
    shard: RecordShard | None = None


def verify(dataset: Dataset, meter: Meter) -> list[Damage]:
    """Reads every byte of the shards, and all tables but the plan's.

    Shards are read by threads, as many as there are CPUs, or more where storage is far away: most
    of the work is done without Python's lock. Memory is some megabytes a thread.

    Raises:
        UnreachableShardError: the storage failed, which says nothing about the dataset.
        UnreachableTableError: likewise.
    """
    shards = [shard for split in SplitName for shard in dataset.split(split).shards]
    meter.begin(Stage.VERIFY_SHARDS, len(shards))
    seen = find_problems(dataset, shards)

    def look(shard: RecordShard) -> list[Damage]:
        found = _Verified(dataset, shard, seen).damages()
        meter.advance(Stage.VERIFY_SHARDS, 1)
        return found

    threads = max(AT_ONCE // 2, len(os.sched_getaffinity(0)))
    found = [damage for of_shard in at_once(look, shards, threads) for damage in of_shard]
    return [*found, *_damaged_tables(dataset)]


class _Verified:
    """One shard and its index."""

    def __init__(self, dataset: Dataset, shard: RecordShard, seen: dict[str, str]) -> None:
        self._dataset = dataset
        self._shard = shard
        self._seen = seen

    def damages(self) -> list[Damage]:
        parts = (
            (self._shard.path, self._records_problem),
            (self._shard.index_path, self._index_problem),
        )
        return [
            Damage(path, problem, self._shard)
            for path, look in parts
            if (problem := self._seen.get(path) or self._guarded(path, look)) is not None
        ]

    def _guarded(self, path: str, look: Callable[[], str | None]) -> str | None:
        try:
            return look()
        except OSError as error:
            raise unreachable(self._dataset.path(path), error) from error

    def _records_problem(self) -> str | None:
        path = self._dataset.path(self._shard.path)
        received = file_sha256(path)
        if received == self._shard.sha256:
            return None
        where = _first_corrupt(path)
        return (
            f"{path}: expected the bytes of SHA-256 {self._shard.sha256[:12]} that {MANIFEST_NAME} "
            f"lists, received {received[:12]}{where}; copy it again"
        )

    def _index_problem(self) -> str | None:
        try:
            self._dataset.read_index(self._shard)
        except UnreachableTableError:
            raise
        except StorageError as error:
            return str(error)
        return None


def _first_corrupt(path: UPath) -> str:
    """Where a file's first damaged record is, for a message; "" where each is sound in itself."""
    try:
        for _ in iterate_records(path):
            pass
    except CorruptRecordError as error:
        return f"; the first damaged record begins at byte {error.offset:,}"
    return ", whose records are sound, but others"


def _damaged_tables(dataset: Dataset) -> Iterator[Damage]:
    root = dataset.root
    tables: dict[str, Callable[[], object]] = {
        LABELS_NAME: dataset.labels,
        HELDOUT_IMAGES_NAME: partial(_heldout_images, dataset),
    }
    for name in NOT_WRITTEN[SplitName.TRAIN]:
        tables[name] = partial(_read_parts, root / name)
    for name in (*NOT_WRITTEN[SplitName.HELDOUT], UNKNOWN_LABELS_NAME):  # Of a held-out catalog.
        if table_parts(root / name)[0].is_file():
            tables[name] = partial(_read_parts, root / name)
    for name, read in tables.items():
        try:
            read()
        except UnreachableTableError:
            raise
        except StorageError as error:
            yield Damage(name, str(error))


def _read_parts(path: UPath) -> None:
    for part in table_parts(path):
        read_table(part)


def _heldout_images(dataset: Dataset) -> None:
    """Compared with the plan as well, where there is one: the manifest knows but their number."""
    table = dataset.heldout_images()
    plan = DatasetPlan.read_at(dataset.root)
    known = plan is not None and plan.fingerprint == dataset.manifest.fingerprint
    if plan is not None and known and plan.heldout_images_digest != table_digest(table):
        raise StorageError(
            f"{dataset.root / HELDOUT_IMAGES_NAME}: expected the table that the plan was made "
            "with, received another one; copy it again"
        )
