"""The manifest of a dataset: everything that says what it is and how it was made."""

from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError
from upath import UPath

from manylabel.storage.errors import DatasetError

FORMAT_VERSION = 1
"""Raised whenever a change to the code changes what is written for the same settings."""

MANIFEST_NAME = "manifest.json"
LABELS_NAME = "labels.parquet"
REJECTED_NAME = "rejected.parquet"


class _Stored(BaseModel):
    model_config = ConfigDict(frozen=True)


class RecordShard(_Stored):
    """One shard. Paths are relative to the dataset root; `sha256` is that of the TFRecord file."""

    path: str
    index_path: str
    records: int
    bytes: int
    sha256: str


class SplitShards(_Stored):
    """The shards of one side and the sum of their records."""

    shards: tuple[RecordShard, ...]
    records: int


class ImageCounts(_Stored):
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
    counts: ImageCounts
    splits: dict[str, SplitShards]
    num_classes: int


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
