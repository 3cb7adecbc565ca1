"""Reading single records of a dataset's split by their place, checksums verified."""

from collections import OrderedDict
from dataclasses import dataclass
from types import TracebackType
from typing import BinaryIO, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from manylabel.storage.dataset import Dataset, unreachable
from manylabel.storage.errors import (
    CorruptRecordError,
    UnreachableShardError,
    UnreachableTableError,
)
from manylabel.storage.schema import SplitName
from manylabel.storage.tfrecord import FOOTER_BYTES, HEADER_BYTES, read_record
from manylabel.trainer.errors import TrainingError


@dataclass(frozen=True)
class BadRecordReport:
    """A record that could not be read."""

    position: int
    path: str
    offset: int
    detail: str


class _OpenShard(NamedTuple):
    path: str
    file: BinaryIO
    offsets: NDArray[np.int64]
    lengths: NDArray[np.int64]


class Record(NamedTuple):
    """One record as it lies on disk."""

    path: str
    """The shard's file."""
    offset: int
    """Byte where the record starts."""
    payload: bytes | None
    """Serialised tf.train.Example, or None if it is corrupt."""
    detail: str
    """What is wrong with it; empty if it is intact."""


class RecordReader:
    """Reads records of one split; for one thread.

    A record is found through its shard's index, so a corrupt one does not hide those after it.

    Args:
        open_shards: files and indexes kept open; the one used longest ago is closed first.
    """

    def __init__(self, dataset: Dataset, split: SplitName, open_shards: int = 256) -> None:
        self._dataset = dataset
        self._shards = dataset.split(split).shards
        self._most_open = open_shards
        self._open: OrderedDict[int, _OpenShard] = OrderedDict()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        while self._open:
            self._close_oldest()

    def read(self, shard: int, record: int) -> Record:
        """The `record`-th record of the `shard`-th shard of the manifest.

        Raises:
            TrainingError: the shard's file is missing.
            StorageError: its index is, or has other records.
            UnreachableShardError: the storage failed, which says nothing about the record.
        """
        try:
            opened = self._opened(shard)
            offset = int(opened.offsets[record])
            opened.file.seek(offset)
            buffer = opened.file.read(HEADER_BYTES + int(opened.lengths[record]) + FOOTER_BYTES)
        except OSError as error:
            raise unreachable(self._dataset.path(self._shards[shard].path), error) from error
        except UnreachableTableError as error:  # of its index
            raise UnreachableShardError(str(error)) from error
        try:
            return Record(opened.path, offset, read_record(buffer, 0), "")
        except CorruptRecordError as error:
            return Record(opened.path, offset, None, error.detail)

    def _opened(self, shard: int) -> _OpenShard:
        if shard not in self._open:
            if len(self._open) >= self._most_open:
                self._close_oldest()
            self._open[shard] = self._open_shard(shard)
        self._open.move_to_end(shard)
        return self._open[shard]

    def _open_shard(self, shard: int) -> _OpenShard:
        entry = self._shards[shard]
        path = self._dataset.path(entry.path)
        index = self._dataset.read_index(entry)
        try:
            file = path.open("rb")
        except FileNotFoundError as error:
            raise TrainingError(
                f"{path}: missing from the dataset; run preprocessing again"
            ) from error
        return _OpenShard(
            str(path),
            file,
            index.column("byte_offset").to_numpy(),
            index.column("byte_length").to_numpy(),
        )

    def _close_oldest(self) -> None:
        _, opened = self._open.popitem(last=False)
        opened.file.close()
