"""What real processes made of pictures that the project ships: a dataset, a whole demo, a model."""

import csv
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import pytest

from manylabel.preprocessing.config import PreprocessingConfig
from manylabel.preprocessing.job import preprocess
from manylabel.storage.dataset import Dataset

IMAGES = 320
DEMO_FOLDERS = ("animals", "food")
DEMO_PICTURES = 64


@pytest.fixture(scope="session")
def clipart_dataset(openclipart: Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Some 300 pictures with their labels, in a few shards."""
    folder = tmp_path_factory.mktemp("clipart")
    with (openclipart / "labels.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    paths = sorted({row["image_path"] for row in rows})
    chosen = set(paths[:: len(paths) // IMAGES])
    with (folder / "labels.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(row for row in rows if row["image_path"] in chosen)
    config = PreprocessingConfig.model_validate(
        {
            "catalog": {"path": str(folder / "labels.csv"), "image_root": str(openclipart)},
            "images": {"short_side_limit": 48},
            "labels": {"minimum_count": 3},
            "heldout": {"size": 0.2},
            "shards": {"images_per_shard": 80},
        }
    )
    preprocess(config, str(folder / "dataset"))
    return Dataset.open(folder / "dataset")


@dataclass(frozen=True)
class Demo:
    """Arguments of the command, what it printed, and its output directory."""

    arguments: list[str]
    printed: str
    output: Path


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
    openclipart: Path, manylabel: Callable[..., str], tmp_path_factory: pytest.TempPathFactory
) -> Demo:
    """A demo on a few pictures that is over."""
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
    return Demo(arguments, manylabel(*arguments), output)


@pytest.fixture(scope="session")
def exported_demo(
    small_demo: Demo, manylabel: Callable[..., str], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The demo's model, exported by a command that nobody reads."""
    model = tmp_path_factory.mktemp("exported") / "model"
    reading, closed = os.pipe()
    os.close(reading)
    with open(closed, "wb") as nobody_reads:
        run = str(small_demo.output / "run")
        manylabel("export", run, "--output", str(model), stdout=nobody_reads)
    return model
