"""Small datasets on disk, written by hand."""

import hashlib

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from manylabel.storage.manifest import (
    ImageCounts,
    Manifest,
    RecordShard,
    SplitShards,
    content_digest,
    table_digest,
)
from manylabel.storage.schema import INDEX_SCHEMA, LABELS_SCHEMA, encode_example
from manylabel.storage.tfrecord import frame


@pytest.fixture
def write_root(tmp_path):
    """write_root([[image, ...], ...]): a complete dataset of these training shards, and an empty
    held-out side."""

    def write(shards, root=tmp_path):
        (root / "train").mkdir(parents=True)
        written = [
            write_shard(root, f"train-{number:05d}-of-{len(shards):05d}", images)
            for number, images in enumerate(shards)
        ]
        columns = [[0, 1], ["cat", "dog"], [2, 1], [0, 0], [2 / 3, 1 / 3]]
        labels = pa.table(dict(zip(LABELS_SCHEMA.names, columns, strict=True)), LABELS_SCHEMA)
        pq.write_table(labels, root / "labels.parquet")
        records = sum(shard.records for shard in written)
        splits = {
            "train": SplitShards(shards=tuple(written), records=records),
            "heldout": SplitShards(shards=(), records=0),
        }
        Manifest(
            content_digest=content_digest(splits, table_digest(labels)),
            labels_digest=table_digest(labels),
            fingerprint="f" * 64,
            code_version="0.1",
            settings={},
            counts=ImageCounts(listed=records, written=records, rejected=0, duplicates=0),
            splits=splits,
            num_classes=2,
        ).write(root / "manifest.json")
        return root

    return write


def write_shard(root, name, images):
    payloads = [encode_example(image) for image in images]
    data = b"".join(map(frame, payloads))
    (root / f"train/{name}.tfrecord").write_bytes(data)
    columns = [
        ["train"] * len(images),
        [name] * len(images),
        [sum(len(p) + 16 for p in payloads[:i]) for i in range(len(payloads))],
        [len(p) for p in payloads],
        [i.image_id for i in images],
        [list(i.label_ids) for i in images],
    ]
    index = pa.table(dict(zip(INDEX_SCHEMA.names, columns, strict=True)), schema=INDEX_SCHEMA)
    sha256 = hashlib.sha256(data).hexdigest()
    pq.write_table(
        index.replace_schema_metadata({"sha256": sha256}), root / f"train/{name}.index.parquet"
    )
    return RecordShard(
        path=f"train/{name}.tfrecord",
        index_path=f"train/{name}.index.parquet",
        records=len(images),
        bytes=len(data),
        sha256=sha256,
    )
