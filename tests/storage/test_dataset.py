"""Opening datasets, complete and otherwise."""

import errno
import importlib.metadata
import json
import subprocess

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from manylabel.storage import dataset as dataset_module
from manylabel.storage.atomic import replacing
from manylabel.storage.dataset import Dataset
from manylabel.storage.errors import (
    CorruptRecordError,
    DamagedDocumentError,
    DatasetError,
    OtherVersionError,
    TableError,
    UnreachableShardError,
)
from manylabel.storage.provenance import code_version
from manylabel.storage.schema import (
    LABELS_SCHEMA,
    LabelledImage,
    decode_example,
    encode_example,
)
from manylabel.storage.tfrecord import frame, read_record

IMAGES = [LabelledImage(f"{i}.jpg", b"jpeg" * i, 4, 4, (i % 2,), (1.0,)) for i in range(3)]


@pytest.fixture
def root(write_root):
    """A complete dataset of two training shards and an empty held-out side."""
    return write_root([IMAGES[:2], IMAGES[2:]])


def edit_manifest(root, **changes):
    path = root / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_everything_is_readable(root):
    dataset = Dataset.open(root)
    assert dataset.content_digest == dataset.manifest.content_digest
    assert dataset.num_classes == 2
    assert dataset.label_names() == ["cat", "dog"]
    assert list(dataset.iterate("train")) == IMAGES
    assert list(dataset.iterate("heldout")) == []
    assert (dataset.records("train"), dataset.records("heldout")) == (3, 0)


def test_the_index_leads_to_the_records(root):
    dataset = Dataset.open(str(root))
    for shard in dataset.split("train").shards:
        data = dataset.path(shard.path).read_bytes()
        for row in dataset.read_index(shard).to_pylist():
            payload = read_record(data, row["byte_offset"])
            assert len(payload) == row["byte_length"]
            assert decode_example(payload).image_id == row["image_id"]
            assert decode_example(payload).label_ids == tuple(row["label_ids"])
            assert shard.path == f"{row['split']}/{row['shard']}.tfrecord"


def test_a_dataset_made_again_meanwhile_is_noticed_shard_by_shard(root):
    """By its indexes, which come after the shards."""
    dataset = Dataset.open(root)
    one, other = (dataset.path(shard.index_path) for shard in dataset.split("train").shards)
    other.write_bytes(one.read_bytes())
    records = dataset.iterate("train")
    assert [next(records), next(records)] == IMAGES[:2]
    with pytest.raises(DatasetError, match=r"00001-of-00002.index.parquet: .* was it made again"):
        next(records)


def test_trouble_with_the_storage_is_told_of_the_shard(root, tmp_path, monkeypatch):
    """And not of a file that is being written from it; the system names none."""

    def fail(path):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(dataset_module, "iterate_records", fail)
    told = r"train-00000-of-00002.tfrecord: cannot be read now: Input/output error; mend that"
    with pytest.raises(UnreachableShardError, match=told), replacing(tmp_path / "predictions"):
        list(Dataset.open(root).iterate("train"))


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("byte_offset", [-1, 91]),
        ("byte_offset", [0, 2**62]),
        ("byte_length", [-16, 2]),
        ("byte_length", [2**62, 2**62]),
        ("byte_length", None),
    ],
)
def test_an_index_whose_places_are_not_those_of_the_records_is_refused(root, column, values):
    shard = Dataset.open(root).split("train").shards[0]
    path = root / shard.index_path
    index = pq.read_table(path)
    if values is None:  # A row too few.
        index = index.slice(0, 1)
    else:
        place = index.schema.get_field_index(column)
        index = index.set_column(place, index.schema.field(place), pa.array(values, pa.int64()))
    pq.write_table(index, path)
    with pytest.raises(DatasetError, match=r"expected the places of 2 records that follow each"):
        Dataset.open(root).read_index(shard)


def test_an_index_without_some_class_ids_is_refused(root):
    shard = Dataset.open(root).split("train").shards[0]
    index = pq.read_table(root / shard.index_path)
    place = index.schema.get_field_index("label_ids")
    nulls = pa.array([[None], [1]], pa.list_(pa.int64()))
    pq.write_table(
        index.set_column(place, index.schema.field(place), nulls), root / shard.index_path
    )
    with pytest.raises(DatasetError, match=r"index\.parquet: .* received nulls"):
        Dataset.open(root).read_index(shard)


def test_a_shard_cut_between_records_is_noticed(root):
    path = root / "train/train-00000-of-00002.tfrecord"
    data = path.read_bytes()
    second = Dataset.open(root).read_index(Dataset.open(root).split("train").shards[0])
    path.write_bytes(data[: second.column("byte_offset")[1].as_py()])
    with pytest.raises(DatasetError, match=rf"{path}: expected {len(data)} bytes as in manifest"):
        next(Dataset.open(root).iterate("train"))


def test_records_of_another_shard_are_noticed(root):
    """Of the same length, sound in themselves."""
    path = root / "train/train-00000-of-00002.tfrecord"
    swapped = [IMAGES[1], IMAGES[0]]
    path.write_bytes(b"".join(frame(encode_example(image)) for image in swapped))
    with pytest.raises(DatasetError, match=r"records that its index lists, received .* '1\.jpg'"):
        next(Dataset.open(root).iterate("train"))


def test_a_missing_directory_is_named(tmp_path):
    with pytest.raises(DatasetError, match="nowhere: no such dataset directory"):
        Dataset.open(tmp_path / "nowhere")


def test_an_unfinished_dataset_is_refused(root):
    (root / "manifest.json").unlink()
    with pytest.raises(DatasetError, match="unfinished"):
        Dataset.open(root)


def test_another_format_is_refused(root):
    edit_manifest(root, format_version=1)
    message = "a dataset manifest of format version 2, received version 1; use the version"
    with pytest.raises(OtherVersionError, match=message):
        Dataset.open(root)


def test_a_manifest_with_nonsense_is_refused(root):
    edit_manifest(root, num_classes="many")
    message = r"manifest\.json: not a dataset manifest \(num_classes"
    with pytest.raises(DamagedDocumentError, match=message):
        Dataset.open(root)


@pytest.mark.parametrize("number", [-1, 2**63, int("9" * 4000)])
def test_a_number_that_counts_nothing_is_refused(root, number):
    edit_manifest(root, num_classes=number)
    with pytest.raises(DamagedDocumentError, match=r"\(num_classes: Input should be (great|less)"):
        Dataset.open(root)


@pytest.mark.parametrize(
    ("edit", "problem"),
    [
        (lambda tree: tree["counts"].update(written=2), "listed is not the sum"),
        (lambda tree: tree["splits"]["train"].update(records=4), "records is not the sum"),
        (lambda tree: tree["splits"]["train"]["shards"][0].update(records=7), "records is not the"),
    ],
)
def test_counts_that_do_not_add_up_are_refused(root, edit, problem):
    tree = json.loads((root / "manifest.json").read_text())
    edit(tree)
    edit_manifest(root, **tree)
    with pytest.raises(DamagedDocumentError, match=problem):
        Dataset.open(root)


def test_an_unknown_split_is_named(root):
    with pytest.raises(DatasetError, match="received 'validation'"):
        Dataset.open(root).split("validation")


def test_a_manifest_that_lists_other_shards_than_its_digest_says_is_refused(root):
    splits = json.loads((root / "manifest.json").read_text())["splits"]
    splits["train"]["shards"].reverse()
    edit_manifest(root, splits=splits)
    with pytest.raises(DamagedDocumentError, match="content_digest is not that of the shards"):
        Dataset.open(root)


@pytest.mark.parametrize(
    "change", [{"name": ["dog", "cat"]}, {"train_count": [1, 2]}, {"name": ["cat", "Dog"]}]
)
def test_another_label_table_is_refused(root, change):
    table = pq.read_table(root / "labels.parquet").to_pydict() | change
    pq.write_table(pa.table(table, schema=LABELS_SCHEMA), root / "labels.parquet")
    with pytest.raises(
        DatasetError, match=r"expected the 2 labels that manifest\.json was .* 2 others"
    ):
        Dataset.open(root).labels()


@pytest.mark.parametrize("damage", ["missing", "text", "columns"])
def test_a_damaged_label_table_is_refused(root, damage):
    path = root / "labels.parquet"
    if damage == "missing":
        path.unlink()
    elif damage == "text":
        path.write_text("not parquet")
    else:
        pq.write_table(pa.table({"id": [0, 1]}), path)
    with pytest.raises(TableError, match=r"labels\.parquet: "):
        Dataset.open(root).labels()


def test_a_corrupt_record_is_named_with_file_and_offset(root):
    path = root / "train/train-00001-of-00002.tfrecord"
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)
    with pytest.raises(CorruptRecordError) as error:
        list(Dataset.open(root).iterate("train"))
    assert (error.value.path, error.value.offset) == (str(path), 0)


VERSION = importlib.metadata.version("manylabel")


@pytest.fixture
def checkout(tmp_path):
    """A git repository of one commit, with a tag that must not stand for it."""

    def git(*arguments):
        done = subprocess.run(
            ["git", "-c", "user.name=a", "-c", "user.email=a@b", *arguments],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()

    git("init", "-q")
    (tmp_path / "code.py").write_text("a = 1\n")
    git("add", "code.py")
    git("commit", "-q", "-m", "First")
    git("tag", "v0")
    return tmp_path, git("rev-parse", "HEAD")


def test_a_checkout_names_its_commit(checkout):
    path, commit = checkout
    version, _, named = code_version(path).partition("+")
    assert version == VERSION
    assert len(named) >= 7
    assert commit.startswith(named)


def test_a_checkout_that_was_changed_says_so(checkout):
    path, commit = checkout
    (path / "code.py").write_text("a = 2\n")
    named = code_version(path).removeprefix(f"{VERSION}+")
    assert named.endswith("-dirty")
    assert commit.startswith(named.removesuffix("-dirty"))


def test_outside_a_checkout_the_version_stands_alone(checkout):
    (checkout[0] / "installed").mkdir()
    assert code_version(checkout[0] / "installed") == VERSION


def test_a_checkout_that_git_cannot_read_has_the_version_alone(tmp_path):
    (tmp_path / ".git").mkdir()
    assert code_version(tmp_path) == VERSION


def test_git_is_not_needed(checkout, monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert code_version(checkout[0]) == VERSION
