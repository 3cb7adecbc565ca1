"""A catalog of URLs, from the command's point of view."""


import pyarrow.parquet as pq
import pytest

from manylabel.preprocessing.config import PreprocessingConfig
from manylabel.preprocessing.job import preprocess
from manylabel.storage.dataset import Dataset
from manylabel.storage.schema import SplitName

PICTURES = 10
MISSING = 2


@pytest.fixture
def catalog(server, picture, write_csv, tmp_path):
    """Ten pictures, and two that are not there."""
    server.answers |= {f"/{i}.png": picture(i, (16, 16)) for i in range(PICTURES)}
    urls = [server.url(f"/{i}.png") for i in range(PICTURES + MISSING)]
    return write_csv(tmp_path / "urls.csv", [(url, "ab"[i % 2], 1) for i, url in enumerate(urls)])


@pytest.fixture
def config(catalog):
    return configured(catalog)


def configured(catalog, **others):
    settings = {
        "catalog": {"path": str(catalog), "http": {"allowed_networks": ["127.0.0.0/8"]}},
        "heldout": {"size": 2},
        "shards": {"images_per_shard": 4},
        "executor": "inline",
    }
    return PreprocessingConfig.model_validate(settings | others)


def rejected(root):
    rows = pq.read_table(root / "rejected.parquet").to_pylist()
    return {row["image_id"].rpartition("/")[2]: (row["reason"], row["detail"]) for row in rows}


def stored(root):
    dataset = Dataset.open(root)
    return {image.image_id: image.encoded for side in SplitName for image in dataset.iterate(side)}


def kept(root):
    return [path for path in (root / "plan" / "fetched").rglob("*") if path.is_file()]


def test_every_picture_is_fetched_once_and_a_retry_asks_for_what_was_missing(
    server, picture, config, tmp_path
):
    root = tmp_path / "dataset"
    report = preprocess(config, str(root))
    assert (report.counts.written, report.counts.rejected, report.retryable) == (10, 2, 2)
    assert rejected(root) == dict.fromkeys(["10.png", "11.png"], ("missing file", "404 Not Found"))
    assert set(server.asked.values()) == {1}
    assert kept(root) == []
    before = stored(root)
    assert set(before) == {server.url(f"/{i}.png") for i in range(PICTURES)}
    # Now all others are gone, and one that was missing is there.
    server.answers = {"/10.png": picture(10, (16, 16)), "/11.png": b"<html>Sorry"}
    server.asked.clear()
    report = preprocess(config, str(root), retry_rejected=True)
    assert (report.counts.written, report.counts.rejected) == (11, 1)
    assert server.asked == {"/10.png": 1, "/11.png": 1}
    assert rejected(root)["11.png"][0] == "not an image of a known format"
    after = stored(root)
    assert {url: after[url] for url in before} == before
    assert kept(root) == []
    # A retry that finds nothing new leaves nothing behind either.
    preprocess(config, str(root), retry_rejected=True)
    assert stored(root) == after
    assert kept(root) == []
