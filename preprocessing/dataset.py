"""Reading a finished dataset: its manifest, label table, indexes and records.

dataset/
  train/train-00000-of-00008.tfrecord          records, see schema.py
  train/train-00000-of-00008.index.parquet     INDEX_SCHEMA
  heldout/...                                  the same
  labels.parquet                               LABELS_SCHEMA
  rejected.parquet                             REJECTED_SCHEMA
  manifest.json                                written last: its presence means "complete"
"""

import importlib.metadata
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Self

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, ValidationError
from upath import UPath

from manylabel.preprocessing.errors import DatasetError
from manylabel.preprocessing.schema import (
    INDEX_SCHEMA,
    LABELS_SCHEMA,
    LabelledImage,
    SplitName,
    decode_example,
)
from manylabel.preprocessing.tables import read_table
from manylabel.preprocessing.tfrecord import iterate_records

FORMAT_VERSION = 1
"""Raised whenever a change to the code changes what is written for the same settings."""

MANIFEST_NAME = "manifest.json"
LABELS_NAME = "labels.parquet"
REJECTED_NAME = "rejected.parquet"

_CHECKOUT = Path(__file__).resolve().parent.parent


class _Stored(BaseModel):
    model_config = ConfigDict(frozen=True)


class ShardFile(_Stored):
    """One shard. Paths are relative to the dataset root; `sha256` is that of the TFRecord file."""

    path: str
    index_path: str
    records: int
    bytes: int
    sha256: str


class Split(_Stored):
    """The shards of one side and the sum of their records."""

    shards: tuple[ShardFile, ...]
    records: int


class Counts(_Stored):
    """Images; `listed = written + rejected + duplicates`."""

    listed: int
    written: int
    rejected: int
    duplicates: int


class Manifest(_Stored):
    """Everything that says what a dataset is and how it was made."""

    format_version: int
    fingerprint: str
    code_version: str
    settings: dict[str, Any]
    counts: Counts
    splits: dict[str, Split]
    num_classes: int


@dataclass(frozen=True)
class Dataset:
    """A complete dataset, opened for reading."""

    root: UPath
    manifest: Manifest

    @classmethod
    def open(cls, root: str | Path) -> Self:
        """Reads the manifest.

        Raises:
            DatasetError: there is no complete dataset at `root`, or a newer version wrote it.
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
        return cls(directory, read_manifest(manifest_path))

    @property
    def fingerprint(self) -> str:
        """Hex digest of settings, catalog and format: equal fingerprints, equal bytes."""
        return self.manifest.fingerprint

    @property
    def num_classes(self) -> int:
        return self.manifest.num_classes

    def split(self, name: SplitName | str) -> Split:
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
        """Where a path of the manifest (`ShardFile.path`, `ShardFile.index_path`) lies."""
        return self.root / relative

    def labels(self) -> pa.Table:
        """`labels.parquet` (LABELS_SCHEMA), checked against the manifest."""
        table = _read_table(self.root / LABELS_NAME, LABELS_SCHEMA)
        if table.num_rows != self.num_classes:
            raise DatasetError(
                f"{self.root / LABELS_NAME}: expected {self.num_classes} rows as in "
                f"{MANIFEST_NAME}, received {table.num_rows}"
            )
        return table

    def label_names(self) -> list[str]:
        """Names by class id."""
        names: list[str] = self.labels().column("name").to_pylist()
        return names

    def read_index(self, shard: ShardFile) -> pa.Table:
        """Offsets, lengths and image ids of a shard's records (INDEX_SCHEMA), in file order."""
        return _read_table(self.path(shard.index_path), INDEX_SCHEMA)

    def iterate(self, name: SplitName | str) -> Iterator[LabelledImage]:
        """Every record of a split, shard after shard; raises CorruptRecordError on a bad byte."""
        for shard in self.split(name).shards:
            for payload in iterate_records(self.path(shard.path)):
                yield decode_example(payload)


def read_manifest(path: UPath) -> Manifest:
    """Raises DatasetError when the file is not a manifest of this format version."""
    try:
        manifest = Manifest.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise DatasetError(
            f"{path}: not a dataset manifest ({place}: {first['msg']}); run preprocessing again"
        ) from error
    if manifest.format_version != FORMAT_VERSION:
        raise DatasetError(
            f"{path}: expected format version {FORMAT_VERSION}, received "
            f"{manifest.format_version}; use the version of manylabel that wrote it "
            f"({manifest.code_version}) or run preprocessing again"
        )
    return manifest


def _read_table(path: UPath, schema: pa.Schema) -> pa.Table:
    if not path.is_file():
        raise DatasetError(f"{path}: missing from the dataset; run preprocessing again")
    try:
        table = read_table(path)
    except (pa.ArrowException, OSError) as error:
        reason = " ".join(str(error).split())  # Arrow's may have several lines.
        raise DatasetError(f"{path}: not a readable Parquet file: {reason}") from error
    if not table.schema.equals(schema):
        raise DatasetError(
            f"{path}: expected columns {schema.names}, received {table.schema.names}"
        )
    return table


@cache
def code_version(checkout: Path = _CHECKOUT) -> str:
    """The code that runs, for what it makes to name: "0.1.0", and in a git checkout its commit as
    well: "0.1.0+1a2b3c4", with "-dirty" behind it where tracked files differ from the commit.

    Where git is missing or may not read the checkout, it is the version alone.
    """
    version = importlib.metadata.version("manylabel")
    if not (checkout / ".git").exists():  # git would look for one further up
        return version
    describe = ["describe", "--always", "--exclude=*", "--dirty"]
    try:
        done = subprocess.run(
            ["git", "--no-optional-locks", "-C", str(checkout), *describe],
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return version  # less exact, and no reason to fail
    return f"{version}+{done.stdout.strip()}"
