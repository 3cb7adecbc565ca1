"""Whose directory it is, and what may be deleted in it."""

import pytest
from upath import UPath

from preprocessing.errors import PreprocessingError
from preprocessing.plan import Owner, Plan, claim, plan_path, shard_count, shard_name, write_planned
from preprocessing.schema import SplitName

MINE = Owner(fingerprint="1", settings={"images": {"jpeg_quality": 90, "min_side": 8}})
OTHER = Owner(fingerprint="2", settings={"images": {"jpeg_quality": 50, "min_side": 8}})


@pytest.fixture
def root(tmp_path):
    return UPath(tmp_path / "dataset")


def test_a_new_directory_is_claimed_and_found_again(root):
    claim(root, MINE, overwrite=False)
    claim(root, MINE, overwrite=False)
    with pytest.raises(PreprocessingError, match=r"other input \(different images\.jpeg_quality\)"):
        claim(root, OTHER, overwrite=False)
    with pytest.raises(PreprocessingError, match="the catalog or the version"):
        claim(root, MINE.model_copy(update={"fingerprint": "3"}), overwrite=False)


def test_overwriting_deletes_the_dataset_and_nothing_else(root):
    claim(root, MINE, overwrite=False)
    ours = [
        "manifest.json",
        "labels.parquet",
        "train/train-00000-of-00002.tfrecord",
        "heldout/heldout-00000-of-00001.index.parquet",
        "plan/train-00000-of-00002.parquet",
        "plan/plan.json",
        "train/train-00000-of-00002.tfrecord.0123.tmp",
    ]
    theirs = ["notes.txt", "train/notes.txt", "train-data/train-00000-of-00002.tfrecord"]
    for name in ours + theirs:
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).touch()
    claim(root, OTHER, overwrite=True)
    assert not any((root / name).exists() for name in ours)
    assert all((root / name).exists() for name in theirs)
    claim(root, OTHER, overwrite=False)


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_foreign_directory_is_never_touched(root, overwrite):
    root.mkdir()
    (root / "thesis.tex").touch()
    with pytest.raises(PreprocessingError, match="received other files"):
        claim(root, MINE, overwrite=overwrite)
    assert [path.name for path in root.iterdir()] == ["thesis.tex"]


def test_a_file_is_no_directory(root):
    root.write_text("x")
    with pytest.raises(PreprocessingError, match="expected a new or empty directory"):
        claim(root, MINE, overwrite=True)


def test_a_plan_counts_only_when_all_its_parts_are_there(root):
    shard = shard_name(SplitName.TRAIN, 0, 1)
    plan = Plan(fingerprint="1", listed=3, shards={SplitName.TRAIN: [shard], SplitName.HELDOUT: []})
    assert Plan.read(root) is None
    plan.write(root)
    write_planned(root, shard, [])
    for name in ("labels.parquet", "rejected.parquet", "duplicates.parquet"):
        assert Plan.read(root) is None
        (root / name).touch()
    assert Plan.read(root) == plan
    plan_path(root, shard).unlink()
    assert Plan.read(root) is None


def test_shard_counts_and_names():
    assert [shard_count(images, 10) for images in (0, 1, 10, 11)] == [0, 1, 1, 2]
    assert shard_name(SplitName.HELDOUT, 3, 12) == "heldout-00003-of-00012"
