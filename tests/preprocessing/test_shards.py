"""Writing one shard, and telling an intact one from a damaged one."""

import hashlib

import pyarrow.parquet as pq
import pytest
from upath import UPath

from manylabel.preprocessing.dataset_plan import PlannedImage, write_planned
from manylabel.preprocessing.fetch import file_digest
from manylabel.preprocessing.images import store
from manylabel.preprocessing.shards import index_path, intact_shard, tfrecord_path, write_shard
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
        PlannedImage(path.name, file_digest(path.read_bytes()), [0, 2], [1.0, 0.5], [1], 7)
        for path in sorted(images.iterdir())
    ]
    write_planned(root, SHARD, planned)
    return root


def test_records_and_index(root, images):
    shard = write_shard(SHARD, root, images, POLICY)
    assert isinstance(shard, RecordShard)
    assert shard == intact_shard(SHARD, root)
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
    write_planned(root, SHARD, [])
    shard = write_shard(SHARD, root, images, POLICY)
    assert isinstance(shard, RecordShard)
    assert shard == intact_shard(SHARD, root)
    assert (shard.records, shard.bytes) == (0, 0)


def flip_a_byte(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("of_path", [tfrecord_path, index_path])
@pytest.mark.parametrize(
    "damage",
    [
        flip_a_byte,
        lambda path: path.write_bytes(path.read_bytes()[:-1]),
        lambda path: path.write_bytes(b""),
        lambda path: path.unlink(),
    ],
    ids=["flipped byte", "cut", "empty", "missing"],
)
def test_damage_is_found(root, images, of_path, damage):
    write_shard(SHARD, root, images, POLICY)
    damage(root / of_path(SHARD))
    assert intact_shard(SHARD, root) is None


def test_a_shard_of_another_plan_is_not_taken_for_this_one(root, images):
    write_shard(SHARD, root, images, POLICY)
    write_planned(root, SHARD, [])
    assert intact_shard(SHARD, root) is None


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
