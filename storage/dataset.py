"""Reading a finished dataset: its manifest, label table, indexes and records.

dataset/
  train/train-00000-of-00008.tfrecord          records, see schema.py
  train/train-00000-of-00008.index.parquet     INDEX_SCHEMA
  heldout/...                                  the same
  labels.parquet                               LABELS_SCHEMA
  heldout_images.parquet                       HELDOUT_IMAGES_SCHEMA
  rejected.parquet                             REJECTED_SCHEMA
  duplicates.parquet                           DUPLICATES_SCHEMA
  heldout_rejected.parquet, ...                the same of a held-out catalog
  unknown_labels.parquet                       UNKNOWN_LABELS_SCHEMA, of a held-out catalog
  manifest.json                                written last: its presence means "complete"
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from upath import UPath

from manylabel.storage.errors import (
    DamagedShardError,
    DatasetError,
    UnreachableShardError,
    reason_of,
)
from manylabel.storage.manifest import (
    HELDOUT_IMAGES_NAME,
    LABELS_NAME,
    MANIFEST_NAME,
    Manifest,
    RecordShard,
    SplitShards,
    table_digest,
)
from manylabel.storage.schema import (
    HELDOUT_IMAGES_SCHEMA,
    INDEX_SCHEMA,
    INDEX_SHARD_DIGEST,
    LABELS_SCHEMA,
    LabelledImage,
    SplitName,
    decode_example,
)
from manylabel.storage.stand_ins import read_head, text_instead
from manylabel.storage.tables import read_table
from manylabel.storage.tfrecord import FOOTER_BYTES, HEADER_BYTES, iterate_records

_MIXED_UP = "was it made again meanwhile, or copied in part? Copy it whole or preprocess again"


@dataclass(frozen=True)
class Dataset:
    """A complete dataset, opened for reading."""

    root: UPath
    manifest: Manifest

    @classmethod
    def open(cls, root: str | Path) -> Self:
        """Reads the manifest.

        Raises:
            DatasetError: there is no complete dataset at `root`.
            DocumentError: its manifest is damaged or of another format version.
        """
        directory = UPath(root)
        manifest_path = directory / MANIFEST_NAME
        if not directory.is_dir():
            raise DatasetError(
                f"{directory}: no such dataset directory; run `manylabel preprocess`"
            )
        if not manifest_path.is_file():
            raise DatasetError(
                f"{directory}: no {MANIFEST_NAME}, so the dataset is unfinished; "
                "run `manylabel preprocess` again, it goes on where it stopped"
            )
        return cls(directory, Manifest.read(manifest_path))

    @property
    def content_digest(self) -> str:
        """What this dataset is, wherever it lies; see `manifest.content_digest`."""
        return self.manifest.content_digest

    @property
    def num_classes(self) -> int:
        return self.manifest.num_classes

    def split(self, name: SplitName | str) -> SplitShards:
        """Raises DatasetError for a name other than "train" and "heldout"."""
        split = self.manifest.splits.get(name)
        if split is None:
            raise DatasetError(
                f"{self.root}: expected a split of {list(self.manifest.splits)}, "
                f"received {str(name)!r}"
            )
        return split

    def records(self, name: SplitName | str) -> int:
        """Number of images in a split."""
        return self.split(name).records

    def path(self, relative: str) -> UPath:
        """Where a path of the manifest (`RecordShard.path`, `RecordShard.index_path`) lies."""
        return self.root / relative

    def labels(self) -> pa.Table:
        """`labels.parquet` (LABELS_SCHEMA), checked against the manifest."""
        table = read_table(self.root / LABELS_NAME, LABELS_SCHEMA)
        expected = self.manifest.labels_digest, self.num_classes
        if (table_digest(table), table.num_rows) != expected:
            raise DatasetError(
                f"{self.root / LABELS_NAME}: expected the {self.num_classes} labels that "
                f"{MANIFEST_NAME} was written with, received {table.num_rows} others; run "
                "preprocessing again"
            )
        return table

    def label_names(self) -> list[str]:
        """Names by class id."""
        names: list[str] = self.labels().column("name").to_pylist()
        return names

    def heldout_images(self) -> pa.Table:
        """`heldout_images.parquet` (HELDOUT_IMAGES_SCHEMA), as many rows as the split has records.

        Raises:
            TableError: it is missing or damaged.
            DatasetError: it has another number of rows.
        """
        path = self.root / HELDOUT_IMAGES_NAME
        table = read_table(path, HELDOUT_IMAGES_SCHEMA)
        if table.num_rows != self.records(SplitName.HELDOUT):
            raise DatasetError(
                f"{path}: expected the {self.records(SplitName.HELDOUT)} images that "
                f"{MANIFEST_NAME} lists, received {table.num_rows}; {_MIXED_UP}"
            )
        return table

    def read_index(self, shard: RecordShard) -> pa.Table:
        """Places, ids and labels of a shard's records (INDEX_SCHEMA), in file order.

        Raises:
            TableError: it is missing or damaged.
            DatasetError: it is of another shard than the manifest lists: the dataset was made
                again, or copied in part; or its places are not those of such records.
        """
        path = self.path(shard.index_path)
        table = read_table(path, INDEX_SCHEMA)
        if (table.schema.metadata or {}).get(INDEX_SHARD_DIGEST) != shard.sha256.encode():
            raise DatasetError(
                f"{path}: expected the index of the shard that {MANIFEST_NAME} lists, received "
                f"another one's; {_MIXED_UP}"
            )
        if pc.list_flatten(table.column("label_ids")).null_count:
            raise DatasetError(f"{path}: expected lists of class ids, received nulls in them")
        if not _follow_each_other(table, shard):
            raise DatasetError(
                f"{path}: expected the places of {shard.records:,} records that follow each other "
                f"up to byte {shard.bytes:,}, received {table.num_rows:,} others; copy it again"
            )
        return table

    def iterate(self, name: SplitName | str) -> Iterator[LabelledImage]:
        """Every record of a split, shard after shard.

        Raises:
            CorruptRecordError: a byte is wrong.
            DatasetError: a shard's file is missing or of another length than the manifest says, or
                a record is not the one that the index has in its place; and as `read_index`.
            UnreachableShardError: the storage failed.
        """
        for shard in self.split(name).shards:
            index = self.read_index(shard)
            rows = zip(
                index.column("image_id").to_pylist(),
                index.column("label_ids").to_pylist(),
                strict=True,
            )
            for payload in self._payloads(shard):
                image = decode_example(payload)
                if next(rows, None) != (image.image_id, list(image.label_ids)):
                    raise DatasetError(
                        f"{self.path(shard.path)}: expected the records that its index lists, "
                        f"received another one, {image.image_id!r:.200}; {_MIXED_UP}"
                    )
                yield image

    def _payloads(self, shard: RecordShard) -> Iterator[bytes]:
        path = self.path(shard.path)
        try:
            self._check_length(shard)
            yield from iterate_records(path)
        except OSError as error:  # Not about a file that whoever asks for records is writing.
            raise unreachable(path, error) from error

    def _check_length(self, shard: RecordShard) -> None:
        path = self.path(shard.path)
        if not path.is_file():
            raise DamagedShardError(
                f"{path}: expected a file that {MANIFEST_NAME} lists, found none; {_MIXED_UP}"
            )
        if (received := path.stat().st_size) != shard.bytes:
            instead = text_instead(read_head(path))
            raise DamagedShardError(
                f"{path}: expected {shard.bytes:,} bytes as in {MANIFEST_NAME}, received "
                + (f"{received:,}; {_MIXED_UP}" if instead is None else str(instead))
            )


def unreachable(path: UPath, error: OSError) -> UnreachableShardError:
    """The storage's trouble with a file, on one line."""
    reason = error.strerror or reason_of(error)
    return UnreachableShardError(f"{path}: cannot be read now: {reason}; mend that and run again")


def _follow_each_other(index: pa.Table, shard: RecordShard) -> bool:
    """Whether an index has a place for each record of a shard, and each byte belongs to one."""
    offsets = index.column("byte_offset").to_numpy()
    lengths = index.column("byte_length").to_numpy()
    if len(offsets) != shard.records or (lengths < 0).any() or (lengths > shard.bytes).any():
        return False
    ends = np.cumsum(lengths + (HEADER_BYTES + FOOTER_BYTES))
    starts = np.concatenate([[0], ends])
    return bool((offsets == starts[:-1]).all() and starts[-1] == shard.bytes)
