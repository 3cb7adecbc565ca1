"""A folder of runs as training and evaluation leave it, from numbers made up with a fixed seed."""

import hashlib
import io
import json
import warnings
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from manylabel.deploy.dashboard.app import create_app
from manylabel.deploy.dashboard.reading import Store
from manylabel.deploy.dashboard.security import Access
from manylabel.eval.config import EvalConfig, MetricForm
from manylabel.eval.statistics.bands import BANDS
from manylabel.eval.store.evaluations import evaluation_directory
from manylabel.eval.store.history import EVALUATIONS_SCHEMA
from manylabel.eval.store.names import EvaluationName
from manylabel.eval.store.promotions import (
    Evidence,
    FormEvidence,
    PromotedCheckpoint,
    Promotion,
    record_promotion,
)
from manylabel.eval.store.summary import (
    DatasetReference,
    EvaluationSummary,
    Headline,
    Interval,
    Provenance,
    ScoredCounts,
    Scores,
)
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
    REJECTED_SCHEMA,
    LabelledImage,
    encode_example,
)
from manylabel.storage.tfrecord import write_record
from manylabel.trainer.config import TrainerConfig
from manylabel.trainer.runs.directory import RunDescription

with warnings.catch_warnings():  # Starlette's test client would rather have another httpx.
    warnings.simplefilter("ignore")
    from starlette.testclient import TestClient

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
SETTINGS = "training_share-0123456789ab"
BATCH = 128

Client = Callable[..., TestClient]


class RunsFolder:
    """Writes runs, promotions and a dataset below a folder.

    Attributes:
        root: The folder of runs.
        dataset: What the runs learn from, once `make_dataset` has written it.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.root.mkdir(parents=True, exist_ok=True)
        self.dataset: Dataset | None = None

    def make_dataset(
        self, labels: int = 60, images: int = 24, side: int = 48, training: int = 768_000
    ) -> Dataset:
        """Held-out pictures with labels of a long tail; training shards are listed, not written."""
        rng = np.random.default_rng(1)
        root = self.root.parent / "dataset"
        train_counts = np.maximum(1, (4_000 / np.arange(1, labels + 1) ** 1.15).astype(int))
        records = [_record(number, side, labels, rng) for number in range(images)]
        splits = {
            "train": _listed_only("train", training),
            "heldout": SplitShards(shards=(_shard(root, records),), records=images),
        }
        names = [f"{word} {number}" for number, word in zip(range(labels), _words(), strict=False)]
        table = pa.table(
            {
                "class_id": np.arange(labels),
                "name": sorted(names),
                "train_count": train_counts,
                "heldout_count": [sum(c in r.label_ids for r in records) for c in range(labels)],
                "train_share": train_counts / train_counts.sum(),
            },
            schema=LABELS_SCHEMA,
        )
        pq.write_table(table, root / "labels.parquet")
        heldout = {
            "image_row": np.arange(images),
            "image_id": [each.image_id for each in records],
            "near_duplicate_group": np.arange(images) // 2,
            "shard": ["heldout-00000-of-00001"] * images,
            "place": np.arange(images),
        }
        pq.write_table(
            pa.table(heldout, schema=HELDOUT_IMAGES_SCHEMA), root / "heldout_images.parquet"
        )
        rejected = [("a.jpg", "unreadable", "cut")] * 3 + [("b.jpg", "label: unknown", "x")] * 5
        columns = dict(
            zip(REJECTED_SCHEMA.names, map(list, zip(*rejected, strict=True)), strict=True)
        )
        pq.write_table(pa.table(columns, schema=REJECTED_SCHEMA), root / "rejected.parquet")
        Manifest(
            content_digest=content_digest(splits, table_digest(table)),
            labels_digest=table_digest(table),
            fingerprint="f" * 64,
            code_version="0.1.0",
            settings={"catalog": {"path": "catalog.csv"}, "split": {"heldout": 0.05}},
            counts=ImageCounts(
                listed=images + training + 9, written=images + training, rejected=3, duplicates=6
            ),
            splits=splits,
            num_classes=labels,
        ).write(root / "manifest.json")
        self.dataset = Dataset.open(root)
        return self.dataset

    def add_run(
        self,
        name: str,
        evaluations: int = 12,
        gain: float = 0.0,
        *,
        champion: EvaluationName | None = None,
        dataset_digest: str | None = None,
        epochs_done: float = 1.0,
        images_an_evaluation: int = 64_000,
        seed: int = 0,
    ) -> Path:
        """A run with evaluations, their history, and metrics.

        Args:
            gain: How much better than the others it ends, in MAP.
            dataset_digest: Of another dataset than `make_dataset`'s.
            epochs_done: How far it trained, of one.
        """
        rng = np.random.default_rng(seed)
        run = self.root / name
        total = evaluations * images_an_evaluation
        digest = dataset_digest or (self.dataset.content_digest if self.dataset else "d" * 64)
        where = str(self.dataset.root) if self.dataset else "/nowhere/dataset"
        RunDescription(
            dataset=where,
            dataset_digest=digest,
            dataset_settings={},
            labels_digest="e" * 64,
            num_classes=60,
            code_version="0.1.0+1a2b3c4",
            created=NOW - timedelta(days=3),
            trainer=TrainerConfig(),
        ).write(run / "run.json")
        self._write_metrics(run, int(total * epochs_done), rng)
        if evaluations:
            rows = _evaluations(rng, evaluations, gain, images_an_evaluation, digest, champion)
            self.write_history(run, rows, champion)
            for row in rows:
                _write_summary(run, row, where)
        return run

    def write_history(
        self, run: Path, rows: Sequence[dict[str, object]], champion: EvaluationName | None
    ) -> None:
        table = pa.Table.from_pylist(list(rows), schema=EVALUATIONS_SCHEMA)
        path = run / "history" / SETTINGS / "evaluations.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(
            table.replace_schema_metadata({b"manylabel.champion": str(champion or "")}), path
        )

    def promote(
        self,
        run: str,
        step: int,
        reason: str = "Best on the tail",
        replaced: EvaluationName | None = None,
        days_ago: float = 1.0,
        evidence: bool = False,
    ) -> None:
        number = len(list((self.root / "promotions").glob("*.json"))) + 1
        forms = {
            form: FormEvidence(difference=0.0096, low=0.0065, high=0.0127, verdict="better")
            for form in MetricForm
        }
        record_promotion(
            self.root,
            Promotion(
                number=number,
                person="ada",
                decided_at=NOW - timedelta(days=days_ago),
                reason=reason,
                candidate=_promoted(EvaluationName(run, step)),
                replaced=_promoted(replaced) if replaced else None,
                evidence=Evidence(
                    review="1f2e3d4c", settings=SETTINGS, form=MetricForm.CLASS, forms=forms
                )
                if evidence
                else None,
                checks_passed=("same dataset",),
                checks_overridden=(),
                dataset_digest=self.dataset.content_digest if self.dataset else "d" * 64,
                code_version="0.1.0",
            ),
        )

    def _write_metrics(self, run: Path, samples: int, rng: np.random.Generator) -> None:
        rows = 120
        lines = []
        for number in range(1, rows + 1):
            seen = samples * number // rows
            share = seen / max(samples, 1)
            row = {
                "format_version": 1,
                "step": seen // BATCH,
                "samples": seen,
                "loss": 0.02 + 0.3 * np.exp(-6 * share) + rng.normal(0, 0.002),
                "learning_rate": 0.045 * 0.94 ** (10 * share),
                "staleness": 3 + rng.normal(0, 0.3),
                "max_staleness": int(6 + rng.integers(0, 4)),
                "gradient_norm": 1.5 + rng.exponential(0.4),
                "images_per_second": 1_830 + rng.normal(0, 60),
            }
            lines.append(json.dumps(row) + "\n")
        (run / "metrics.jsonl").write_text("".join(lines))


def picture(number: int, side: int) -> bytes:
    """A JPEG with a disc, another for each number."""
    grid = np.mgrid[0:side, 0:side] / side
    disc = np.hypot(grid[0] - 0.5, grid[1] - 0.3 - number % 5 / 10) < 0.25
    pixels = np.zeros((side, side, 3), np.uint8)
    pixels[:] = (40 + 8 * (number % 24), 90, 200 - 7 * (number % 24))
    pixels[disc] = (250, 240, 220)
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, "JPEG")
    return data.getvalue()


def _record(number: int, side: int, labels: int, rng: np.random.Generator) -> LabelledImage:
    ids = tuple(sorted({0, *rng.integers(0, labels, 4).tolist()}))
    ones = (1.0,) * len(ids)
    return LabelledImage(f"images/{number:03d}.jpg", picture(number, side), side, side, ids, ones)


def _words() -> list[str]:
    nouns = ("banana", "glacier", "marathon", "motorcycle", "statue", "watch", "whale")
    return [noun for _ in range(2_500) for noun in nouns]


def _listed_only(split: str, records: int) -> SplitShards:
    shard = RecordShard(
        path=f"{split}/{split}-00000-of-00001.tfrecord",
        index_path=f"{split}/{split}-00000-of-00001.index.parquet",
        records=records,
        bytes=1,
        sha256="0" * 64,
    )
    return SplitShards(shards=(shard,), records=records)


def _shard(root: Path, records: Sequence[LabelledImage]) -> RecordShard:
    path = root / "heldout" / "heldout-00000-of-00001.tfrecord"
    path.parent.mkdir(parents=True)
    rows, offset = [], 0
    with path.open("wb") as file:
        for record in records:
            payload = encode_example(record)
            row = (
                "heldout",
                path.stem,
                offset,
                len(payload),
                record.image_id,
                list(record.label_ids),
            )
            rows.append(dict(zip(INDEX_SCHEMA.names, row, strict=True)))
            offset += write_record(file, payload)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    schema = INDEX_SCHEMA.with_metadata({"sha256": sha256})
    index_path = "heldout/heldout-00000-of-00001.index.parquet"
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), root / index_path)
    return RecordShard(
        path="heldout/heldout-00000-of-00001.tfrecord",
        index_path=index_path,
        records=len(records),
        bytes=path.stat().st_size,
        sha256=sha256,
    )


def _evaluations(
    rng: np.random.Generator,
    number: int,
    gain: float,
    images: int,
    dataset_digest: str,
    champion: EvaluationName | None,
) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    noise = np.cumsum(rng.normal(0, 0.0006, number))
    for place in range(number):
        share = (place + 1) / number
        seen = (place + 1) * images
        row: dict[str, object] = {
            "step": seen // BATCH,
            "samples": seen,
            "evaluated_at": NOW - timedelta(hours=2 * (number - place)),
            "checkpoint_digest": hashlib.sha256(f"{images}{place}".encode()).hexdigest(),
            "dataset_digest": dataset_digest,
            "k": 100,
            "heldout_images": 14_000,
            "recall": 0.4 + 0.4 * share,
            "bands": [
                None,
                *(0.05 * band + 0.3 * (1 - np.exp(-5 * share)) for band in range(1, len(BANDS))),
            ],
            "baseline_bands": [None, *(0.01 * band for band in range(1, len(BANDS)))],
        }
        for form, base, width in (("class", 0.16, 0.0031), ("image", 0.3, 0.0024)):
            value = base + (0.03 + gain) * (1 - np.exp(-6 * share)) + noise[place]
            difference = value - base - 0.03 * (1 - np.exp(-6))
            row |= {
                f"{form}_value": value,
                f"{form}_standard_error": width / 1.96,
                f"{form}_low": value - width,
                f"{form}_high": value + width,
                f"{form}_baseline": base * 0.9,
                f"{form}_undistinguished": share > 0.6,
                f"{form}_champion_difference": difference if champion else None,
                f"{form}_champion_low": difference - width if champion else None,
                f"{form}_champion_high": difference + width if champion else None,
            }
        rows.append(row)
    return rows


def _write_summary(run: Path, row: dict[str, object], dataset_root: str) -> None:
    scores = Scores(
        weighted_map_image=row["image_value"],
        weighted_map_class=row["class_value"],
        map_image=0.2,
        map_class=0.1,
        recall=row["recall"],
        precision={1: 0.5, 5: 0.4, 10: 0.3},
    )
    baseline = scores.model_copy(
        update={
            "weighted_map_image": row["image_baseline"],
            "weighted_map_class": row["class_baseline"],
        }
    )
    names = ("standard_error", "low", "high")
    intervals = {
        form: Interval(**{name: row[f"{form}_{name}"] for name in names}) for form in MetricForm
    }
    config = EvalConfig(form=MetricForm.CLASS, weights={"kind": "training_share"})
    summary = EvaluationSummary(
        headline=Headline.of(MetricForm.CLASS, 100, scores, baseline, intervals),
        settings=SETTINGS,
        provenance=Provenance(
            run=run.name,
            checkpoint=f"checkpoints/{row['step']:08d}",
            checkpoint_digest=row["checkpoint_digest"],
            step=row["step"],
            samples=row["samples"],
            code_version="0.1.0+1a2b3c4",
            evaluated_at=row["evaluated_at"],
        ),
        dataset=DatasetReference(root=dataset_root, content_digest=row["dataset_digest"]),
        config=config,
        counts=ScoredCounts(
            images=14_000,
            images_without_labels=0,
            images_without_weight=0,
            labels=83_708,
            classes=17_000,
            classes_with_images=14_941,
            near_duplicate_groups=12_389,
            parts=100,
        ),
        scores=scores,
        baseline=baseline,
        intervals=intervals,
    )
    directory = evaluation_directory(run, summary.provenance.step, SETTINGS)
    summary.write(directory / "summary.json")


def _promoted(name: EvaluationName) -> PromotedCheckpoint:
    return PromotedCheckpoint(run=name.run, step=name.step, checkpoint_digest="c" * 64)


@pytest.fixture
def folder(tmp_path: Path) -> RunsFolder:
    """An empty folder of runs."""
    return RunsFolder(tmp_path / "runs")


@pytest.fixture
def filled(folder: RunsFolder) -> RunsFolder:
    """Three runs: the champion's, a better one, and one on another held-out set."""
    folder.make_dataset()
    champion = EvaluationName("run-a", 6_000)
    folder.add_run("run-a", seed=1, champion=champion)
    folder.add_run("run-b", gain=0.012, seed=2, champion=champion)
    folder.add_run("other-set", seed=3, champion=champion, dataset_digest="a" * 64)
    folder.promote("run-a", 6_000, evidence=True)
    return folder


@pytest.fixture
def client(folder: RunsFolder) -> Client:
    """client(access=…): a browser that shows what is in the folder."""

    def open_client(access: Access | None = None, host: str = "127.0.0.1:8000") -> TestClient:
        app = create_app(Store(folder.root, lambda: NOW), access or Access())
        return TestClient(app, base_url=f"http://{host}")

    return open_client
