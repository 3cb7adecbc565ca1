"""For every test: quiet TensorFlow, no plotting window, the pictures we ship, small datasets, a
whole demo of a few pictures."""

import csv
import hashlib
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import IO

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
DEMO_FOLDERS = ("animals", "food")
DEMO_PICTURES = 64


class Clock:
    """Seconds, as a test sets them."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="session")
def lfs_pointer() -> bytes:
    """What a clone without its large files has in the place of one."""
    return (
        b"version https://git-lfs.github.com/spec/v1\n"
        b"oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\n"
        b"size 12345\n"
    )


@pytest.fixture(scope="session")
def openclipart() -> Path:
    """The folder with labels.csv, credits.csv, images/ and odd/."""
    return REPOSITORY / "examples" / "openclipart"


@pytest.fixture(scope="session")
def hostile_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a module of each name that Python, our dependencies or we import; none may be
    executed."""
    folder = tmp_path_factory.mktemp("hostile")
    ours = {path.parent.name for path in REPOSITORY.glob("*/__init__.py")}
    assert {"trainer", "eval", "preprocessing", "pipeline", "deploy", "storage"} <= ours
    for name in {"manylabel", *ours, *sys.stdlib_module_names, *packages_distributions()}:
        (folder / f"{name}.py").write_text(
            f"open({str(folder / 'executed.txt')!r}, 'a').write(__file__ + chr(10))\n"
            "raise ImportError(f'{__file__} was executed')\n"
        )
    return folder


@dataclass(frozen=True)
class Demo:
    """Arguments of the command, what it printed, its output directory, and its TMPDIR."""

    arguments: list[str]
    printed: str
    output: Path
    temporary: Path


@pytest.fixture(scope="session")
def manylabel() -> Callable[..., str]:
    """manylabel("train", ...): runs a command that succeeds in silence; what it printed."""
    return _manylabel


def _manylabel(*arguments: str, stdout: int | IO[bytes] = subprocess.PIPE) -> str:
    command = [str(Path(sys.executable).with_name("manylabel")), *arguments]
    # The level of TensorFlow's log is the command's to set.
    environment = {k: v for k, v in os.environ.items() if k != "TF_CPP_MIN_LOG_LEVEL"}
    done = subprocess.run(
        command, env=environment, stdout=stdout, stderr=subprocess.PIPE, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


@pytest.fixture(scope="session")
def small_demo(
    openclipart: Path,
    manylabel: Callable[..., str],
    hostile_folder: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Demo:
    """A demo on a few pictures that is over, made where users keep a `trainer.py` of their own."""
    directory = tmp_path_factory.mktemp("demo")
    catalog, output = directory / "labels.csv", directory / "output"
    with (openclipart / "labels.csv").open(encoding="utf-8", newline="") as file:
        rows = [
            row for row in csv.DictReader(file) if row["image_path"].split("/")[1] in DEMO_FOLDERS
        ]
    chosen = sorted({row["image_path"] for row in rows})[:: 1 + len(rows) // 400][:DEMO_PICTURES]
    with catalog.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(row for row in rows if row["image_path"] in chosen)
    settings = {
        "preprocessing.catalog.path": catalog,
        "preprocessing.catalog.image_root": openclipart,
        "preprocessing.labels.minimum_count": 2,
        "preprocessing.heldout.size": 0.4,  # So that there are the 20 that the export test wants.
        "preprocessing.shards.images_per_shard": 16,
        "trainer.model.input_size": 32,
        "trainer.model.width": 0.125,
        "trainer.model.middle_repeats": 0,
        "trainer.input.batch_size": 8,
        "trainer.input.shuffle_block": 4,
        "trainer.epochs": 2,
        "trainer.checkpoints.every_samples": 48,
    }
    arguments = ["demo", "--output", str(output)]
    arguments += [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(hostile_folder)
        temporary = directory / "temporary"
        temporary.mkdir()
        patch.setenv("TMPDIR", str(temporary))
        return Demo(arguments, manylabel(*arguments), output, temporary)


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
