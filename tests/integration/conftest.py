"""A real dataset, made by the real preprocessing job from pictures that the project ships."""

import csv
from pathlib import Path

import pytest

from manylabel.preprocessing.config import PreprocessingConfig
from manylabel.preprocessing.job import preprocess
from manylabel.storage.dataset import Dataset

IMAGES = 320


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
