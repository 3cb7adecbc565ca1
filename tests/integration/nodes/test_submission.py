"""Preprocessing, training, evaluation and export on three nodes, by one command each."""

import csv
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pytest

from manylabel.pipeline.config import load_settings
from manylabel.preprocessing.job import preprocess
from manylabel.storage.dataset import Dataset
from manylabel.storage.jobs import JobStage, JobState, status_path
from manylabel.storage.manifest import Manifest
from manylabel.storage.schema import SplitName
from manylabel.trainer.records.ledger import Settlement
from tests.integration.nodes._submitter import Place, Submitter, settings_file, wait_until

EPOCHS = 3
FAIR = 0.05  # share of the work: nodes ask for it, and three share the processors of one machine

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def settings(openclipart: Path, submitter: Submitter) -> list[str]:
    """Of every command: a file, and what is set over it."""
    catalog = submitter.folder / "labels.csv"
    with (openclipart / "labels.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    chosen = set(sorted({row["image_path"] for row in rows})[::2])
    with catalog.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(row for row in rows if row["image_path"] in chosen)
    file_ = settings_file(submitter.folder / "settings.yaml", epochs=EPOCHS, workers=3, shards=2)
    values = {
        "preprocessing.catalog.path": catalog,
        "preprocessing.catalog.image_root": openclipart,
        "preprocessing.images.short_side_limit": 48,
        "preprocessing.labels.minimum_count": 3,
        "preprocessing.heldout.size": 0.2,
        "preprocessing.shards.images_per_shard": 8,
    }
    return [
        str(file_),
        *(part for key, each in values.items() for part in ("--set", f"{key}={each}")),
    ]


@pytest.fixture(scope="module")
def dataset(submitter: Submitter, settings: list[str]) -> Path:
    root = submitter.folder / "dataset"
    done = submitter.run(
        "submit", "preprocess", *settings, "--output", str(root), *submitter.address, "--follow"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return root


class Trained(NamedTuple):
    """A run, and what each node had applied when all of them were at work: on a busy machine, some
    are seconds before the others."""

    path: Path
    before: Counter[str]


@pytest.fixture(scope="module")
def run(submitter: Submitter, settings: list[str], dataset: Path) -> Trained:
    path = submitter.folder / "runs" / "first"
    place = Place(path, JobStage.TRAIN)
    following = submitter.start(
        *("submit", "train", *settings, "--dataset", str(dataset), "--run", str(path)),
        *(*submitter.address, "--follow"),
    )
    before: Counter[str] = Counter()

    def all_are_at_work() -> bool:
        nonlocal before
        if status_path(path, JobStage.TRAIN).exists():
            before = +place.by_node(lambda process: process.images)
        return len(before) == 3 or following.process.poll() is not None

    wait_until(all_are_at_work, following)
    assert following.end() == 0, following.printed
    return Trained(path, before)


def test_preprocessing_is_that_of_one_machine_and_every_node_takes_its_part(
    submitter: Submitter, settings: list[str], dataset: Path
):
    local = submitter.folder / "local"
    config = load_settings(settings[0], settings[2::2]).preprocessing
    preprocess(config, str(local))
    assert contents(dataset) == contents(local)
    manifests = [Manifest.read(root / "manifest.json") for root in (dataset, local)]
    first, second = (each.model_copy(update={"code_version": ""}) for each in manifests)
    assert first == second
    written = Place(dataset, JobStage.PREPROCESS).by_node(lambda process: process.shards)
    assert len(written) == 3, written
    assert min(written.values()) >= FAIR * sum(written.values()), written


def test_training_counts_each_record_once_and_every_node_takes_its_part(
    dataset: Path, run: Trained
):
    place = Place(run.path, JobStage.TRAIN)
    total = EPOCHS * Dataset.open(dataset).records(SplitName.TRAIN)
    assert place.ledger.next_position == total
    assert place.ledger.undone == ()
    assert place.ledger.settled[Settlement.APPLIED] == total
    applied = place.by_node(lambda process: process.images)
    assert sum(applied.values()) == total
    together = applied - run.before
    assert len(together) == 3, applied
    assert min(together.values()) >= FAIR * sum(together.values()), (run.before, applied)

    (attempt,) = place.attempts
    assert (attempt.state, attempt.exit_code) == (JobState.DONE, 0)
    assert attempt.submission.startswith("manylabel-train-first-")
    assert attempt.step == place.status.step == place.checkpoints[-1]
    logs = {path.stem for path in (run.path / "jobs" / "train" / "0001").iterdir()}
    workers = {f"worker-{index}" for index in range(3)}
    assert logs == {"command", "coordinator", "shard-0", "shard-1", *workers}


def test_a_run_is_evaluated_and_exported_by_a_command_each(submitter: Submitter, run: Trained):
    evaluated = submitter.run("submit", "evaluate", str(run.path), *submitter.address, "--follow")
    assert evaluated.returncode == 0, evaluated.stdout + evaluated.stderr
    assert "MAP@100" in evaluated.stdout
    assert list((run.path / "evals").glob("*/*/summary.json"))

    model = submitter.folder / "model"
    exported = submitter.run(
        "submit", "export", str(run.path), "--output", str(model), *submitter.address, "--follow"
    )
    assert exported.returncode == 0, exported.stdout + exported.stderr
    assert (model / "1" / "saved_model.pb").exists()
    for stage in (JobStage.EVALUATE, JobStage.EXPORT):
        (attempt,) = Place(run.path, stage).attempts
        assert (attempt.state, attempt.exit_code) == (JobState.DONE, 0)


def contents(dataset: Path) -> dict[str, bytes]:
    """Of each file but the manifest, which names the code, and what jobs say of themselves."""
    return {
        str(path.relative_to(dataset)): path.read_bytes()
        for path in dataset.rglob("*")
        if path.is_file() and path.relative_to(dataset).parts[0] not in ("jobs", "manifest.json")
    }
