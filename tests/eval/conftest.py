"""Small datasets on disk, made with the project's own record writer."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from manylabel.eval.summary import Provenance
from manylabel.storage.dataset import Dataset
from manylabel.storage.manifest import FORMAT_VERSION
from manylabel.storage.schema import LABELS_SCHEMA, LabelledImage, encode_example
from manylabel.storage.tfrecord import write_record

MakeDataset = Callable[..., Dataset]


@pytest.fixture
def provenance() -> Provenance:
    return Provenance(
        run="run-a",
        checkpoint="runs/run-a/checkpoints/00000020",
        step=20,
        samples=640,
        code_version="0.1.0",
        evaluated_at=datetime(2025, 1, 2, tzinfo=UTC),
    )


@pytest.fixture
def make_dataset(tmp_path: Path) -> MakeDataset:
    """Writes the held-out split and label table of a dataset; it has no training images."""

    def make(
        heldout: Mapping[str, Sequence[int]] | Sequence[tuple[str, Sequence[int]]],
        train_counts: Sequence[int],
        names: Sequence[str] | None = None,
        encoded: bytes = b"",
    ) -> Dataset:
        images = list(heldout.items() if isinstance(heldout, Mapping) else heldout)
        fingerprint = hashlib.sha256(repr((images, train_counts, names)).encode()).hexdigest()
        root = tmp_path / f"dataset-{fingerprint[:8]}"
        shard = root / "heldout" / "heldout-00000-of-00001.tfrecord"
        shard.parent.mkdir(parents=True, exist_ok=True)
        with shard.open("wb") as file:
            for image_id, label_ids in images:
                ids = tuple(label_ids)
                image = LabelledImage(image_id, encoded, 8, 8, ids, (1.0,) * len(ids))
                write_record(file, encode_example(image))
        classes = len(train_counts)
        columns = {
            "id": range(classes),
            "name": names or [f"label {c}" for c in range(classes)],
            "train_count": train_counts,
            "heldout_count": [sum(c in ids for _, ids in images) for c in range(classes)],
            "weight": [1.0] * classes,
        }
        columns = {name: list(values) for name, values in columns.items()}
        pq.write_table(pa.table(columns, schema=LABELS_SCHEMA), root / "labels.parquet")
        file_entry = {
            "path": "heldout/heldout-00000-of-00001.tfrecord",
            "index_path": "heldout/heldout-00000-of-00001.index.parquet",
            "records": len(images),
            "bytes": shard.stat().st_size,
            "sha256": "",
        }
        count = len(images)
        manifest = {
            "format_version": FORMAT_VERSION,
            "fingerprint": fingerprint,
            "code_version": "0.1.0",
            "settings": {},
            "counts": {"listed": count, "written": count, "rejected": 0, "duplicates": 0},
            "splits": {
                "train": {"shards": [], "records": 0},
                "heldout": {"shards": [file_entry], "records": count},
            },
            "num_classes": classes,
        }
        (root / "manifest.json").write_text(json.dumps(manifest))
        return Dataset.open(root)

    return make
