"""Writing one shard, and telling an intact one from a damaged one."""

import errno
import hashlib

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from upath import UPath

from manylabel.preprocessing.decisions.work_items import PLAN_SCHEMA
from manylabel.preprocessing.pictures.fetch import file_digest
from manylabel.preprocessing.pictures.images import store
from manylabel.preprocessing.planning.dataset_plan import write_planned
from manylabel.preprocessing.writing import shards
from manylabel.preprocessing.writing.shards import (
    find_shard,
    index_path,
    tfrecord_path,
    write_shard,
)
from manylabel.storage.image_policy import ImageConfig
from manylabel.storage.manifest import RecordShard
from manylabel.storage.schema import LabelledImage, decode_example
from manylabel.storage.tfrecord import read_record

SHARD = "train-00000-of-00001"
POLICY = ImageConfig(short_side_limit=40)


@pytest.fixture
def images(tmp_path, picture):
    directory = UPath(tmp_path).resolve() / "images"
    directory.mkdir()
    for number in range(3):
        (directory / f"{number}.png").write_bytes(picture(number))
    return directory


@pytest.fixture
def root(tmp_path, images):
    root = UPath(tmp_path / "dataset")
    planned = [
        (path.name, file_digest(path.read_bytes()), [0, 2], [1.0, 0.5], [1], 7)
        for path in sorted(images.iterdir())
    ]
    columns = [list(values) for values in zip(*planned, strict=True)]
    write_planned(root, SHARD, pa.table(columns, schema=PLAN_SCHEMA))
    return root


def test_records_and_index(root, images):
    shard = write_shard(SHARD, root, images, POLICY)
    assert isinstance(shard, RecordShard)
    assert shard == find_shard(SHARD, root, verify=True) == find_shard(SHARD, root, verify=False)
    data = (root / tfrecord_path(SHARD)).read_bytes()
    assert (shard.path, shard.index_path) == (tfrecord_path(SHARD), index_path(SHARD))
    assert (shard.records, shard.bytes) == (3, len(data))
    assert shard.sha256 == hashlib.sha256(data).hexdigest()
    rows = pq.read_table(root / index_path(SHARD)).to_pylist()
    for number, row in enumerate(rows):
        payload = read_record(data, row["byte_offset"])
        assert len(payload) == row["byte_length"]
        stored = store((images / f"{number}.png").read_bytes(), POLICY)
        assert decode_example(payload) == LabelledImage(
            row["image_id"], stored.encoded, stored.height, stored.width, (0, 2), (1.0, 0.5), (1,)
        )
    assert [row["image_id"] for row in rows] == ["0.png", "1.png", "2.png"]
    assert rows[-1]["byte_offset"] + 12 + rows[-1]["byte_length"] + 4 == len(data)


def test_a_shard_may_be_empty(root, images):
    write_planned(root, SHARD, PLAN_SCHEMA.empty_table())
    shard = write_shard(SHARD, root, images, POLICY)
    assert isinstance(shard, RecordShard)
    assert shard == find_shard(SHARD, root, verify=True) == find_shard(SHARD, root, verify=False)
    assert (shard.records, shard.bytes) == (0, 0)


def flip_a_byte(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("of_path", [tfrecord_path, index_path])
@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(path.read_bytes()[:-1]),
        lambda path: path.write_bytes(path.read_bytes() + b"x"),
        lambda path: path.write_bytes(b""),
        lambda path: path.unlink(),
    ],
    ids=["cut", "longer", "empty", "missing"],
)
@pytest.mark.parametrize("verify", [False, True])
def test_damage_that_changes_the_size_is_found(root, images, of_path, damage, verify):
    write_shard(SHARD, root, images, POLICY)
    damage(root / of_path(SHARD))
    assert find_shard(SHARD, root, verify=verify) is None


def test_a_flipped_byte_is_found_when_all_are_read(root, images):
    write_shard(SHARD, root, images, POLICY)
    flip_a_byte(root / tfrecord_path(SHARD))
    assert find_shard(SHARD, root, verify=False) is not None
    assert find_shard(SHARD, root, verify=True) is None
    write_shard(SHARD, root, images, POLICY)
    flip_a_byte(root / index_path(SHARD))
    assert find_shard(SHARD, root, verify=False) is None


def test_trouble_with_the_storage_is_no_damage(root, images, monkeypatch):
    """As when a disk far away does not answer in time: the shard may be whole."""
    write_shard(SHARD, root, images, POLICY)

    def time_out(*_, **__):
        raise TimeoutError(errno.ETIMEDOUT, "Connection timed out")

    for place in (shards.read_table, shards.file_sha256):
        with monkeypatch.context() as patch:
            patch.setattr(shards, place.__name__, time_out)
            with pytest.raises(TimeoutError):
                find_shard(SHARD, root, verify=True)
    assert find_shard(SHARD, root, verify=True) is not None


@pytest.mark.parametrize("verify", [False, True])
def test_a_shard_of_another_plan_is_not_taken_for_this_one(root, images, verify):
    write_shard(SHARD, root, images, POLICY)
    write_planned(root, SHARD, PLAN_SCHEMA.empty_table())
    assert find_shard(SHARD, root, verify=verify) is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda path: path.unlink(), "missing file"),
        (lambda path: path.write_bytes(b"other"), "the file changed since it was checked"),
    ],
)
def test_an_image_that_changed_stops_its_shard(root, images, change, message):
    change(images / "1.png")
    problem = write_shard(SHARD, root, images, POLICY)
    assert isinstance(problem, str)
    assert problem.startswith("1.png: ")
    assert message in problem
    assert [path.name for path in (root / "train").iterdir()] == []
