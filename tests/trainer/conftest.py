"""A small dataset on disk, written by TensorFlow's own writer."""

import hashlib
import io
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
from PIL import Image

from manylabel.storage.dataset import Dataset
from manylabel.storage.manifest import (
    ImageCounts,
    Manifest,
    RecordShard,
    SplitShards,
    content_digest,
    table_digest,
)
from manylabel.storage.schema import INDEX_SCHEMA, LABELS_SCHEMA, LabelledImage, encode_example

DatasetWriter = Callable[..., Dataset]


@pytest.fixture
def write_dataset(tmp_path: Path) -> DatasetWriter:
    """write_dataset(train=[[image or payload, ...], ...], heldout=[...], classes=10)."""

    def write(
        train: Sequence[Sequence[LabelledImage | bytes]] = (),
        heldout: Sequence[Sequence[LabelledImage | bytes]] = (),
        classes: int = 10,
        names: Sequence[str] = (),
        folder: str = "dataset",
    ) -> Dataset:
        root = tmp_path / folder
        splits = {
            name: _write_split(root, name, shards)
            for name, shards in (("train", train), ("heldout", heldout))
        }
        written = sum(split.records for split in splits.values())
        labels = _write_labels(root, train, heldout, names or _names(classes))
        Manifest(
            content_digest=content_digest(splits, table_digest(labels)),
            labels_digest=table_digest(labels),
            fingerprint="0" * 16,
            code_version="test",
            settings={},
            counts=ImageCounts(listed=written, written=written, rejected=0, duplicates=0),
            splits=splits,
            num_classes=classes,
        ).write(root / "manifest.json")
        return Dataset.open(root)

    return write


@pytest.fixture(scope="session")
def labelled_image() -> Callable[..., LabelledImage]:
    """labelled_image(number, label_ids=(...), height, width): a noise JPEG named after number."""

    def make(
        number: int, label_ids: tuple[int, ...] = (), height: int = 40, width: int = 48
    ) -> LabelledImage:
        pixels = np.random.default_rng(number).integers(0, 256, (height, width, 3), np.uint8)
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "JPEG", quality=95)
        confidences = tuple(1.0 / (1 + place) for place in range(len(label_ids)))
        return LabelledImage(
            f"image{number}", file.getvalue(), height, width, label_ids, confidences
        )

    return make


def _write_split(
    root: Path, name: str, shards: Sequence[Sequence[LabelledImage | bytes]]
) -> SplitShards:
    (root / name).mkdir(parents=True)
    files = []
    for number, records in enumerate(shards):
        path = f"{name}/{name}-{number:05d}-of-{len(shards):05d}"
        rows = []
        offset = 0
        with tf.io.TFRecordWriter(str(root / f"{path}.tfrecord")) as writer:
            for place, record in enumerate(records):
                payload = record if isinstance(record, bytes) else encode_example(record)
                image_id = f"raw{place}" if isinstance(record, bytes) else record.image_id
                writer.write(payload)
                label_ids = [] if isinstance(record, bytes) else list(record.label_ids)
                rows.append(
                    {
                        "split": name,
                        "shard": path.partition("/")[2],
                        "byte_offset": offset,
                        "byte_length": len(payload),
                        "image_id": image_id,
                        "label_ids": label_ids,
                    }
                )
                offset += len(payload) + 16
        sha256 = hashlib.sha256((root / f"{path}.tfrecord").read_bytes()).hexdigest()
        pq.write_table(
            pa.Table.from_pylist(rows, schema=INDEX_SCHEMA.with_metadata({"sha256": sha256})),
            root / f"{path}.index.parquet",
        )
        files.append(
            RecordShard(
                path=f"{path}.tfrecord",
                index_path=f"{path}.index.parquet",
                records=len(records),
                bytes=offset,
                sha256=sha256,
            )
        )
    return SplitShards(shards=tuple(files), records=sum(map(len, shards)))


def _names(classes: int) -> list[str]:
    return [f"label{label}" for label in range(classes)]


def _write_labels(
    root: Path,
    train: Sequence[Sequence[LabelledImage | bytes]],
    heldout: Sequence[Sequence[LabelledImage | bytes]],
    names: Sequence[str],
) -> pa.Table:
    """labels.parquet; a raw payload counts for no class."""
    in_train, in_heldout = (
        Counter(
            label
            for shard in shards
            for record in shard
            if isinstance(record, LabelledImage)
            for label in record.label_ids
        )
        for shards in (train, heldout)
    )
    classes = range(len(names))
    columns = {
        "class_id": classes,
        "name": names,
        "train_count": [in_train[label] for label in classes],
        "heldout_count": [in_heldout[label] for label in classes],
        "train_share": [in_train[label] / max(in_train.total(), 1) for label in classes],
    }
    table = pa.table(columns, schema=LABELS_SCHEMA)
    pq.write_table(table, root / "labels.parquet")
    return table
