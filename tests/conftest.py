"""For every test: quiet TensorFlow, no plotting window, the pictures we ship, small datasets."""

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from manylabel.storage.dataset import Dataset
from manylabel.storage.manifest import (
    ImageCounts,
    Manifest,
    RecordShard,
    SplitShards,
    content_digest,
    table_digest,
)
from manylabel.storage.schema import (
    HELDOUT_IMAGES_SCHEMA,
    INDEX_SCHEMA,
    LABELS_SCHEMA,
    LabelledImage,
    encode_example,
)
from manylabel.storage.tfrecord import write_record

# Before anything imports TensorFlow or matplotlib, in this process or a child.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # Its rounding differs between machines.
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
os.environ.setdefault("MPLBACKEND", "agg")

MakeDataset = Callable[..., Dataset]

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def openclipart() -> Path:
    """The folder with labels.csv, credits.csv, images/ and odd/."""
    return REPOSITORY / "examples" / "openclipart"


@pytest.fixture
def make_dataset(tmp_path: Path) -> MakeDataset:
    """Writes the held-out split and label table of a dataset; it has no training images.

    `groups`: near-duplicate group by image, else each its own; `negatives`: verified absences.
    """

    def make(
        heldout: Mapping[str, Sequence[int]] | Sequence[tuple[str, Sequence[int]]],
        train_counts: Sequence[int],
        names: Sequence[str] | None = None,
        encoded: bytes = b"",
        groups: Mapping[str, int] | None = None,
        negatives: Mapping[str, Sequence[int]] | None = None,
    ) -> Dataset:
        images = list(heldout.items() if isinstance(heldout, Mapping) else heldout)
        fingerprint = hashlib.sha256(
            repr((images, train_counts, names, groups, negatives)).encode()
        ).hexdigest()
        root = tmp_path / f"dataset-{fingerprint[:8]}"
        shard = root / "heldout" / "heldout-00000-of-00001.tfrecord"
        shard.parent.mkdir(parents=True, exist_ok=True)
        rows, offset = [], 0
        with shard.open("wb") as file:
            for image_id, label_ids in images:
                ids = tuple(label_ids)
                absent = tuple((negatives or {}).get(image_id, ()))
                image = LabelledImage(image_id, encoded, 8, 8, ids, (1.0,) * len(ids), absent)
                payload = encode_example(image)
                rows.append(("heldout", shard.stem, offset, len(payload), image_id, list(ids)))
                offset += write_record(file, payload)
        sha256 = hashlib.sha256(shard.read_bytes()).hexdigest()
        index = pa.Table.from_pylist(
            [dict(zip(INDEX_SCHEMA.names, row, strict=True)) for row in rows],
            schema=INDEX_SCHEMA.with_metadata({"sha256": sha256}),
        )
        pq.write_table(index, shard.with_name("heldout-00000-of-00001.index.parquet"))
        places = {image_id: place for place, (image_id, _) in enumerate(images)}
        ordered = sorted(places)
        heldout_images = {
            "image_row": list(range(len(ordered))),
            "image_id": ordered,
            "near_duplicate_group": [
                (groups or {}).get(each, row) for row, each in enumerate(ordered)
            ],
            "shard": [shard.stem] * len(ordered),
            "place": [places[image_id] for image_id in ordered],
        }
        pq.write_table(
            pa.table(heldout_images, schema=HELDOUT_IMAGES_SCHEMA),
            root / "heldout_images.parquet",
        )
        classes = len(train_counts)
        columns = {
            "class_id": range(classes),
            "name": names or [f"label {c}" for c in range(classes)],
            "train_count": train_counts,
            "heldout_count": [sum(c in ids for _, ids in images) for c in range(classes)],
            "train_share": [1.0] * classes,
        }
        columns = {name: list(values) for name, values in columns.items()}
        labels = pa.table(columns, schema=LABELS_SCHEMA)
        pq.write_table(labels, root / "labels.parquet")
        count = len(images)
        file_entry = RecordShard(
            path="heldout/heldout-00000-of-00001.tfrecord",
            index_path="heldout/heldout-00000-of-00001.index.parquet",
            records=count,
            bytes=shard.stat().st_size,
            sha256=sha256,
        )
        splits = {
            "train": SplitShards(shards=(), records=0),
            "heldout": SplitShards(shards=(file_entry,), records=count),
        }
        Manifest(
            content_digest=content_digest(splits, table_digest(labels)),
            labels_digest=table_digest(labels),
            fingerprint=fingerprint,
            code_version="0.1.0",
            settings={},
            counts=ImageCounts(listed=count, written=count, rejected=0, duplicates=0),
            splits=splits,
            num_classes=classes,
        ).write(root / "manifest.json")
        return Dataset.open(root)

    return make
