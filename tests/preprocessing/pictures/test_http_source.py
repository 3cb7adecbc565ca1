"""A catalog of URLs, from the command's point of view."""

import pyarrow.parquet as pq
import pytest

from manylabel.preprocessing.config import PreprocessingConfig
from manylabel.preprocessing.job import preprocess
from manylabel.preprocessing.progress import Meter
from manylabel.preprocessing.repair import repair
from manylabel.preprocessing.verification import verify
from manylabel.storage.dataset import Dataset
from manylabel.storage.schema import SplitName

PICTURES = 10


@pytest.fixture
def catalog(server, picture, write_csv, tmp_path):
    """Ten pictures, and three that are not there."""
    server.answers |= {f"/{i}.png": picture(i, (16, 16)) for i in range(PICTURES)}
    urls = [server.url(f"/{i}.png") for i in range(PICTURES + 3)]
    return write_csv(tmp_path / "urls.csv", [(url, "ab"[i % 2], 1) for i, url in enumerate(urls)])


@pytest.fixture
def config(catalog):
    return PreprocessingConfig.model_validate(
        {
            "catalog": {"path": str(catalog), "http": {"allowed_networks": ["127.0.0.0/8"]}},
            "heldout": {"size": 2},
            "shards": {"images_per_shard": 4},
            "executor": "inline",
        }
    )


def rejected(root):
    rows = pq.read_table(f"{root}/rejected.parquet").to_pylist()
    return {row["image_id"].rpartition("/")[2]: (row["reason"], row["detail"]) for row in rows}


def stored(root):
    dataset = Dataset.open(root)
    return {image.image_id: image.encoded for side in SplitName for image in dataset.iterate(side)}


def test_every_picture_is_fetched_once_and_a_retry_asks_for_what_was_missing(
    server, picture, config, tmp_path, monkeypatch
):
    root = tmp_path / "dataset"
    report = preprocess(config, str(root))
    assert (report.counts.written, report.counts.rejected, report.retryable) == (10, 3, 3)
    assert rejected(root) == {
        f"{i}.png": ("missing file", "404 Not Found") for i in range(PICTURES, PICTURES + 3)
    }
    assert set(server.asked.values()) == {1}
    assert not [path for path in (root / "plan" / "fetched").rglob("*") if path.is_file()]
    before = stored(root)
    assert len(before) == PICTURES


def test_a_lost_shard_is_fetched_again(server, config, tmp_path):
    root = tmp_path / "dataset"
    preprocess(config, str(root))
    dataset = Dataset.open(root)
    (shard, *_) = dataset.split(SplitName.TRAIN).shards
    before = dataset.path(shard.path).read_bytes()
    dataset.path(shard.path).unlink()
    assert repair(dataset, verify(dataset, Meter()), Meter()).mended == [shard.path]
    assert dataset.path(shard.path).read_bytes() == before
