"""Phase two: one work item per shard. Fetch, check, resize, write, rename, index."""

import hashlib
from collections.abc import Mapping

import pyarrow as pa
from upath import UPath

from manylabel.preprocessing.pictures.fetch import fetch, file_digest, root_of
from manylabel.preprocessing.pictures.images import store
from manylabel.preprocessing.planning.dataset_plan import PlannedImage, plan_path, read_planned
from manylabel.preprocessing.rejections import ImageRejectedError
from manylabel.storage.atomic import replacing
from manylabel.storage.errors import TableError, UnreachableTableError
from manylabel.storage.image_policy import ImageConfig
from manylabel.storage.manifest import RecordShard
from manylabel.storage.schema import (
    INDEX_SCHEMA,
    INDEX_SHARD_DIGEST,
    LabelledImage,
    SplitName,
    encode_example,
)
from manylabel.storage.tables import read_table, write_table
from manylabel.storage.tfrecord import FOOTER_BYTES, HEADER_BYTES, frame

_PLAN_SHA256 = b"plan_sha256"
"""Metadata of an index: digest of the work item, so that a shard of an earlier plan is not taken
for one of this. Beside it is the shard's own, so that damage to either is found."""


def write_from(
    name: str, root: UPath, image_roots: Mapping[SplitName, UPath], policy: ImageConfig
) -> RecordShard | str:
    """As `write_shard`, with the pictures of the shard's side."""
    return write_shard(name, root, root_of(split_of(name), image_roots), policy)


def write_shard(
    shard: str, root: UPath, image_root: UPath, policy: ImageConfig
) -> RecordShard | str:
    """Writes a planned shard and then its index, whose presence says that both are complete.

    Returns:
        What the manifest says of the shard, or why it could not be written.
    """
    digest = hashlib.sha256()
    offset, rows = 0, []
    try:
        with replacing(root / tfrecord_path(shard)) as file:
            for planned in read_planned(root, shard):
                payload = encode_example(_read_again(planned, image_root, policy))
                framed = frame(payload)
                file.write(framed)
                digest.update(framed)
                rows.append(
                    {
                        "split": _directory(shard),
                        "shard": shard,
                        "byte_offset": offset,
                        "byte_length": len(payload),
                        "image_id": planned.image_id,
                        "label_ids": planned.label_ids,
                    }
                )
                offset += len(framed)
    except _ImageChangedError as changed:
        return str(changed)
    schema = INDEX_SCHEMA.with_metadata(
        {INDEX_SHARD_DIGEST: digest.hexdigest(), _PLAN_SHA256: _file_digest(plan_path(root, shard))}
    )
    write_table(root / index_path(shard), pa.Table.from_pylist(rows, schema))
    return _shard_file(shard, records=len(rows), size=offset, sha256=digest.hexdigest())


def find_shard(shard: str, root: UPath, *, verify: bool) -> RecordShard | None:
    """What the manifest says of a shard, or None when it is missing, unfinished or damaged.

    Args:
        verify: Every byte is read; else the shard's size is compared with what its index says.

    Raises:
        OSError, UnreachableTableError: the storage failed, which says nothing about the shard.
    """
    path, index = root / tfrecord_path(shard), root / index_path(shard)
    try:
        size = path.stat().st_size
        table = read_table(index)
        plan_digest = _file_digest(plan_path(root, shard))
        digest = _file_digest(path).encode() if verify else None
    except UnreachableTableError:
        raise
    except (TableError, FileNotFoundError):
        return None
    metadata = table.schema.metadata or {}
    expected = metadata.get(INDEX_SHARD_DIGEST, b"")
    if (
        metadata.get(_PLAN_SHA256) != plan_digest.encode()
        or (digest is not None and digest != expected)
        or size != _size_of(table)
    ):
        return None
    return _shard_file(shard, records=table.num_rows, size=size, sha256=expected.decode())


def _size_of(index: pa.Table) -> int:
    """Bytes of the shard of an index: where its last record ends."""
    if not index.num_rows:
        return 0
    offset, length = (index.column(name)[-1].as_py() for name in ("byte_offset", "byte_length"))
    return int(offset + HEADER_BYTES + length + FOOTER_BYTES)


def _shard_file(shard: str, *, records: int, size: int, sha256: str) -> RecordShard:
    return RecordShard(
        path=tfrecord_path(shard),
        index_path=index_path(shard),
        records=records,
        bytes=size,
        sha256=sha256,
    )


def _file_digest(path: UPath) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def tfrecord_path(shard: str) -> str:
    """Relative to the dataset root."""
    return f"{_directory(shard)}/{shard}.tfrecord"


def index_path(shard: str) -> str:
    """Relative to the dataset root."""
    return f"{_directory(shard)}/{shard}.index.parquet"


def split_of(shard: str) -> SplitName:
    """The side of a shard, by its name."""
    return SplitName(shard.split("-", 1)[0])


def _directory(shard: str) -> str:
    return str(split_of(shard))


class _ImageChangedError(Exception):
    """A file is no longer the one that the plan was made from."""


def _read_again(planned: PlannedImage, image_root: UPath, policy: ImageConfig) -> LabelledImage:
    try:
        data = fetch(image_root, planned.image_id, policy.max_bytes)
        if file_digest(data) != planned.digest:
            raise _ImageChangedError(f"{planned.image_id}: the file changed since it was checked")
        stored = store(data, policy)
    except ImageRejectedError as rejected:
        raise _ImageChangedError(
            f"{planned.image_id}: was accepted when it was checked, but now: {rejected.reason}: "
            f"{rejected.detail}"
        ) from rejected
    return LabelledImage(
        image_id=planned.image_id,
        encoded=stored.encoded,
        height=stored.height,
        width=stored.width,
        label_ids=tuple(planned.label_ids),
        confidences=tuple(planned.confidences),
        negative_ids=tuple(planned.negative_ids),
    )
