"""The manifest of a dataset: everything that says what it is and how it was made."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, model_validator

from manylabel.storage.documents import Count, Document
from manylabel.storage.locations import OwnPathBelow

MANIFEST_NAME = "manifest.json"
LABELS_NAME = "labels.parquet"
REJECTED_NAME = "rejected.parquet"
HELDOUT_IMAGES_NAME = "heldout_images.parquet"
HELDOUT_REJECTED_NAME = "heldout_rejected.parquet"
UNKNOWN_LABELS_NAME = "unknown_labels.parquet"


class _Stored(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class RecordShard(_Stored):
    """One shard. Paths are relative to the dataset root; `sha256` is that of the TFRecord file."""

    path: OwnPathBelow
    index_path: OwnPathBelow
    records: Count
    bytes: Count
    sha256: str


class SplitShards(_Stored):
    """The shards of one side and the sum of their records."""

    shards: tuple[RecordShard, ...]
    records: Count

    @model_validator(mode="after")
    def _is_the_sum(self) -> Self:
        if self.records != sum(shard.records for shard in self.shards):
            raise ValueError("records is not the sum of those of the shards")
        return self


class ImageCounts(_Stored):
    """Images; `listed = written + rejected + duplicates`."""

    listed: Count
    written: Count
    rejected: Count
    duplicates: Count

    @model_validator(mode="after")
    def _add_up(self) -> Self:
        if self.listed != self.written + self.rejected + self.duplicates:
            raise ValueError("listed is not the sum of written, rejected and duplicates")
        return self


class Manifest(Document):
    """Everything that says what a dataset is and how it was made.

    Attributes:
        format_version: Of everything in the dataset's directory.
        content_digest: What the dataset is, see `content_digest`: whatever was learnt from it or
            measured on it holds for this content alone.
        labels_digest: Of `labels.parquet`, see `table_digest`.
        fingerprint: What it was made from, see `preprocessing.fingerprint`; equal ones need not
            mean equal pictures.
        code_version: Of the code that finished it.
        settings: Those of preprocessing but for the executor's and the runner's.
        counts: Images.
        splits: By name.
        num_classes: Rows of `labels.parquet`.
    """

    NOUN: ClassVar[str] = "a dataset manifest"
    REMEDY: ClassVar[str] = (
        "use the version of manylabel that wrote the dataset, or preprocess again with --overwrite"
    )

    format_version: Literal[2] = 2
    content_digest: str
    labels_digest: str
    fingerprint: str
    code_version: str
    settings: dict[str, Any]
    counts: ImageCounts
    splits: dict[str, SplitShards]
    num_classes: Count

    @model_validator(mode="after")
    def _digest_is_of_this_content(self) -> Self:
        if self.content_digest != content_digest(self.splits, self.labels_digest):
            raise ValueError("content_digest is not that of the shards and labels listed here")
        return self


def content_digest(splits: Mapping[str, SplitShards], labels: str) -> str:
    """SHA-256, hexadecimal, of the digests of all shards in order and of the label table.

    Equal for equal content wherever it lies and whatever it was made from.
    """
    shards = {split: [shard.sha256 for shard in splits[split].shards] for split in sorted(splits)}
    return hashlib.sha256(json.dumps([shards, labels]).encode()).hexdigest()


def table_digest(table: pa.Table) -> str:
    """SHA-256, hexadecimal, of the names and values of a table's columns.

    Of the values and not of the file, whose bytes differ between versions of Parquet's writers.
    """
    return hashlib.sha256(json.dumps(table.to_pydict()).encode()).hexdigest()
