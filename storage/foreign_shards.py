"""What a file is that is not the shard in whose place it lies."""

from upath import UPath

from manylabel.storage.dataset import Dataset
from manylabel.storage.errors import (
    CorruptRecordError,
    DatasetError,
    TableError,
    UnreachableTableError,
)
from manylabel.storage.manifest import RecordShard
from manylabel.storage.schema import decode_example
from manylabel.storage.stand_ins import read_head, text_instead
from manylabel.storage.tfrecord import HEADER_BYTES, payload_length, read_first_record

_HEAD = 1 << 16
"""Bytes; of a JPEG's, some 256 are line feeds."""

_MOST_OF_A_RECORD = 1 << 26
"""Bytes that are read of a first record; larger ones are not ours."""

_ENOUGH = 16
"""Marks of a transfer as text in _HEAD bytes that no accident leaves."""

_REPLACEMENT = "\N{REPLACEMENT CHARACTER}".encode()


def told_apart(dataset: Dataset, shard: RecordShard, size: int) -> str:
    """What lies in a shard's place, and what to do, as in "a Git LFS pointer; run ...".

    Args:
        size: Bytes of the file, which is known to be another than the manifest lists.

    Raises:
        OSError: it cannot be read.
        UnreachableTableError: nor an index, as the storage failed.
    """
    path = dataset.path(shard.path)
    head = read_head(path, _HEAD)
    if (found := text_instead(head[:512])) is not None:
        return f"{size:,} bytes, {found}"
    if (changed := _changed_as_text(head)) is not None:
        return f"{size:,} that {changed}; copy it again, as binary"
    if not _is_header(head[:HEADER_BYTES]) and size >= HEADER_BYTES:
        begins = head[:4].hex(" ")
        return f"{size:,} of a file that is no TFRecord (it begins with {begins}); copy it again"
    image_id, expected = _first_image(path), _expected_image(dataset, shard)
    if image_id is not None and expected is not None and image_id != expected:
        return f"{size:,} of {_other_shard(dataset, shard, size, image_id)}; copy both again"
    if size < shard.bytes:
        return f"{size:,} of them, cut short; copy it again"
    if size > shard.bytes:
        return f"{size:,}, with something behind its records; copy it again"
    return "as many, of which some are damaged; copy it again"


def begins_as_another(dataset: Dataset, shard: RecordShard) -> bool:
    """Whether the image of the first record is not the one that the shard's index lists.

    Raises:
        OSError: the shard cannot be read.
        UnreachableTableError: nor its index, as the storage failed.
    """
    expected = _expected_image(dataset, shard)
    return expected is not None and _first_image(dataset.path(shard.path)) != expected


def _is_header(header: bytes) -> bool:
    try:
        payload_length(header)
    except CorruptRecordError:
        return False
    return True


def _changed_as_text(head: bytes) -> str | None:
    feeds = head.count(b"\n")
    if feeds >= _ENOUGH and head.count(b"\r\n") == feeds:
        return "were transferred as text (each line feed became CR LF)"
    if head.count(_REPLACEMENT) >= _ENOUGH:
        return "were decoded and written as text (bytes that are no UTF-8 were replaced)"
    return None


def _first_image(path: UPath) -> str | None:
    """Id of the first record's image; None where there is no sound record."""
    try:
        with path.open("rb") as file:
            payload = read_first_record(file, _MOST_OF_A_RECORD)
        return decode_example(payload).image_id
    except DatasetError:
        return None


def _expected_image(dataset: Dataset, shard: RecordShard) -> str | None:
    """Id of a shard's first image by its index, "" for a shard of none; None without an index."""
    try:
        ids = dataset.read_index(shard).column("image_id")
    except UnreachableTableError:
        raise
    except (TableError, DatasetError):
        return None
    return str(ids[0].as_py()) if len(ids) else ""


def _other_shard(dataset: Dataset, shard: RecordShard, size: int, image_id: str) -> str:
    for split in dataset.manifest.splits.values():
        for other in split.shards:
            same = other.bytes == size and other.path != shard.path
            if same and _expected_image(dataset, other) == image_id:
                return f"another shard, {other.path}"
    return f"another shard (it begins with image {image_id!r:.200})"
