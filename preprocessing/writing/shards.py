"""Phase two: one work item per shard. Fetch, check, resize, write, rename, index."""

import hashlib
from collections.abc import Mapping, Sequence

import pyarrow as pa
from upath import UPath

from manylabel.preprocessing.pictures.checking import Pictures
from manylabel.preprocessing.pictures.fetch import fetch, file_digest, root_of
from manylabel.preprocessing.pictures.http_source import HttpSource
from manylabel.preprocessing.pictures.images import StoredImage, store
from manylabel.preprocessing.pictures.opening import memory_for
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
    decode_example,
    encode_example,
)
from manylabel.storage.tables import read_table, write_table
from manylabel.storage.tfrecord import FOOTER_BYTES, HEADER_BYTES, frame, iterate_records

_PLAN_SHA256 = b"plan_sha256"
"""Metadata of an index: digest of the work item, so that a shard of an earlier plan is not taken
for one of this. Beside it is the shard's own, so that damage to either is found."""


def write_from(
    name: str,
    root: UPath,
    image_roots: Mapping[SplitName, Pictures],
    policy: ImageConfig,
    expected: Mapping[str, str] | None = None,
) -> RecordShard | str:
    """As `write_shard`, with the pictures of the shard's side.

    Args:
        expected: By shard, where they are known.
    """
    image_root = root_of(split_of(name), image_roots)
    return write_shard(name, root, image_root, policy, (expected or {}).get(name))


def write_shard(
    shard: str,
    root: UPath,
    image_root: Pictures,
    policy: ImageConfig,
    expected: str | None = None,
) -> RecordShard | str:
    """Writes a planned shard and then its index, whose presence says that both are complete.

    Pictures that were kept for it are deleted then.

    Args:
        expected: SHA-256 that it must have, else it is not written.

    Returns:
        What the manifest says of the shard, or why it could not be written.
    """
    digest = hashlib.sha256()
    offset, rows = 0, []
    planned_images = read_planned(root, shard)
    if isinstance(image_root, HttpSource):
        image_root.expect([planned.image_id for planned in planned_images], policy.max_bytes)
    try:
        with replacing(root / tfrecord_path(shard)) as file:
            for planned in planned_images:
                payload = encode_example(_read_again(planned, image_root, policy))
                framed = frame(payload)
                file.write(framed)
                digest.update(framed)
                rows.append(_row(shard, offset, len(payload), planned.image_id, planned.label_ids))
                offset += len(framed)
            if expected not in (None, digest.hexdigest()):
                raise _ImageChangedError(_OTHER_BYTES)
    except _ImageChangedError as changed:
        return str(changed)
    _write_index(shard, root, rows, digest.hexdigest())
    if isinstance(image_root, HttpSource):
        for planned in planned_images:
            image_root.kept.drop(planned.image_id)
    return _shard_file(shard, records=len(rows), size=offset, sha256=digest.hexdigest())


def index_again(shard: RecordShard, root: UPath) -> None:
    """Writes the index of a shard, from its records, which are known to be whole."""
    name = shard.path.rpartition("/")[2].removesuffix(".tfrecord")
    offset, rows = 0, []
    for payload in iterate_records(root / shard.path):
        image = decode_example(payload)
        rows.append(_row(name, offset, len(payload), image.image_id, image.label_ids))
        offset += HEADER_BYTES + len(payload) + FOOTER_BYTES
    _write_index(name, root, rows, shard.sha256)


def _row(
    shard: str, offset: int, length: int, image_id: str, label_ids: Sequence[int]
) -> dict[str, object]:
    return {
        "split": _directory(shard),
        "shard": shard,
        "byte_offset": offset,
        "byte_length": length,
        "image_id": image_id,
        "label_ids": list(label_ids),
    }


def _write_index(shard: str, root: UPath, rows: list[dict[str, object]], sha256: str) -> None:
    metadata = {INDEX_SHARD_DIGEST: sha256}
    if plan_path(root, shard).is_file():  # Else the shard is of no plan that is there.
        metadata[_PLAN_SHA256] = file_sha256(plan_path(root, shard))
    table = pa.Table.from_pylist(rows, INDEX_SCHEMA.with_metadata(metadata))
    write_table(root / index_path(shard), table)


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
        plan_digest = file_sha256(plan_path(root, shard))
        digest = file_sha256(path).encode() if verify else None
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


def file_sha256(path: UPath) -> str:
    """Of a file's bytes, hexadecimal."""
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


_OTHER_BYTES = (
    "its pictures are those of the plan, but give other bytes here than when the dataset was made, "
    "since the version of manylabel or of Pillow is another"
)


class _ImageChangedError(Exception):
    """A file is no longer the one that the plan was made from."""


def _stored(planned: PlannedImage, image_root: Pictures, policy: ImageConfig) -> StoredImage:
    if isinstance(image_root, HttpSource):
        kept = image_root.kept.find(planned.image_id)
        if kept is not None and kept.digest.hex() == planned.digest:
            return kept.stored
    data = fetch(image_root, planned.image_id, policy.max_bytes)
    if file_digest(data) != planned.digest:
        raise _ImageChangedError(f"{planned.image_id}: the file changed since it was checked")
    return store(data, policy)


def _read_again(planned: PlannedImage, image_root: Pictures, policy: ImageConfig) -> LabelledImage:
    try:
        with memory_for(planned.image_id):
            stored = _stored(planned, image_root, policy)
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
