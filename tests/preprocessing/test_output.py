"""Whose directory it is, and what may be deleted in it."""

import shutil
from pathlib import Path

import pytest
from upath import UPath

from manylabel.preprocessing.errors import PreprocessingError
from manylabel.preprocessing.output import LOCK_NAME, OWNER_NAME, Owner, claim, remove_dataset
from manylabel.storage.errors import DamagedDocumentError, OtherVersionError
from manylabel.storage.jobs import JobStage, status_path
from manylabel.storage.manifest import ImageCounts, Manifest, SplitShards, content_digest
from manylabel.storage.schema import SplitName

MINE = Owner(fingerprint="1", settings={"images": {"jpeg_quality": 90, "min_side": 8}})
OTHER = Owner(fingerprint="2", settings={"images": {"jpeg_quality": 50, "min_side": 8}})


@pytest.fixture
def root(tmp_path):
    return UPath(tmp_path / "dataset")


def claimed(root, owner, *, overwrite=False):
    with claim(root, owner, overwrite=overwrite):
        pass


def test_a_new_directory_is_claimed_and_found_again(root):
    claimed(root, MINE)
    claimed(root, MINE)
    with pytest.raises(PreprocessingError, match=r"other input \(different images\.jpeg_quality\)"):
        claimed(root, OTHER)
    with pytest.raises(PreprocessingError, match="the catalog or the version"):
        claimed(root, MINE.model_copy(update={"fingerprint": "3"}))


def test_only_settings_that_count_are_named_as_different(root):
    """Not how pictures are fetched nor where label sets lie, on whose account nothing differs."""

    def owner(number, quality, **catalog):
        images = {"jpeg_quality": quality}
        return Owner(fingerprint=number, settings={"catalog": catalog, "images": images})

    before = owner("1", 90, http={"deadline": 1}, ml_images={"dictionary": "old"})
    claimed(root, before)
    with pytest.raises(PreprocessingError, match=r"\(different images\.jpeg_quality\)"):
        claimed(root, owner("2", 50, http={"deadline": 2}, ml_images={"dictionary": "new"}))
    with pytest.raises(PreprocessingError, match=r"\(different catalog\.http\)"):
        claimed(root, owner("3", 90, ml_images=None))


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("protocol", ["", "file://", "local://"])
def test_one_job_at_a_time(root, protocol, overwrite):
    root = UPath(f"{protocol}{root}")
    with claim(root, MINE, overwrite=False):
        (root / "manifest.json").touch()
        with pytest.raises(PreprocessingError, match="another job is writing this dataset; wait"):
            claimed(root, MINE, overwrite=overwrite)
        assert (root / "manifest.json").exists()
    claimed(root, MINE, overwrite=overwrite)


def test_a_job_that_died_before_it_named_itself_is_no_obstacle(root):
    (root / LOCK_NAME).parent.mkdir(parents=True)
    (root / LOCK_NAME).touch()
    claimed(root, MINE)
    assert Owner.model_validate_json((root / OWNER_NAME).read_bytes()) == MINE


def test_a_job_that_died_while_it_named_itself_is_no_obstacle(root):
    (root / LOCK_NAME).parent.mkdir(parents=True)
    (root / LOCK_NAME).touch()
    (root / f"{OWNER_NAME}.{32 * '0'}.tmp").touch()
    claimed(root, MINE)
    assert [path.name for path in (root / "plan").iterdir()] == ["lock", "owner.json"]


def test_what_vouches_for_a_dataset_is_deleted_before_it(root, monkeypatch):
    """So wherever the deleting is stopped, nothing that is left is believed."""
    claimed(root, MINE)
    first = ["manifest.json", "plan/plan.json", "plan/checked/00000-000000000.parquet"]
    others = ["labels.parquet", "train/train-00000-of-00001.tfrecord", "rejected.parquet"]
    for name in first + others:
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).touch()
    deleted = []
    real = type(root).unlink

    def unlink(path, missing_ok=False):
        if path.exists():
            deleted.append(str(path.relative_to(root)))
        real(path, missing_ok=missing_ok)

    monkeypatch.setattr(type(root), "unlink", unlink)
    remove_dataset(root)
    assert deleted[: len(first)] == first
    assert sorted(deleted[len(first) :]) == sorted(others)


def test_object_storage_is_claimed_without_a_lock():
    root = UPath("memory://claimed/dataset")
    claimed(root, MINE)
    (root / "train").mkdir(exist_ok=True)
    leftover = root / "train" / f"train-00000-of-00001.tfrecord.{32 * 'a'}.tmp"
    leftover.write_bytes(b"half")
    claimed(root, MINE)
    assert not leftover.exists()
    with pytest.raises(PreprocessingError, match="other input"):
        claimed(root, OTHER)


def test_a_damaged_owner_is_replaced_only_when_asked_for(root):
    claimed(root, MINE)
    (root / OWNER_NAME).write_text('{"fingerprint": ')
    with pytest.raises(
        DamagedDocumentError, match=r"owner\.json: not a dataset's owner file .*--overwrite"
    ) as error:
        claimed(root, MINE)
    assert "\n" not in str(error.value)
    claimed(root, MINE, overwrite=True)
    claimed(root, MINE)


def test_only_our_own_leftovers_are_swept(root):
    claimed(root, MINE)
    unique = 32 * "0"
    ours = [f"manifest.json.{unique}.tmp", f"plan/plan.json.{unique}.tmp"]
    ours += [f"{split}/{split}-00000-of-00001.tfrecord.{unique}.tmp" for split in SplitName]
    theirs = ["notes.tmp", "train/notes.tmp", f"backup/manifest.json.{unique}.tmp"]
    for name in ours + theirs:
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).touch()
    claimed(root, MINE)
    assert not any((root / name).exists() for name in ours)
    assert all((root / name).exists() for name in theirs)


def test_overwriting_deletes_the_dataset_and_nothing_else(root):
    claimed(root, MINE)
    ours = [
        "manifest.json",
        "labels.parquet",
        "train/train-00000-of-00002.tfrecord",
        "heldout/heldout-00000-of-00001.index.parquet",
        "plan/train-00000-of-00002.parquet",
        "plan/plan.json",
        "train/train-00000-of-00002.tfrecord.0123456789abcdef0123456789abcdef.tmp",
    ]
    theirs = ["notes.txt", "train/notes.txt", "train-data/train-00000-of-00002.tfrecord"]
    for name in ours + theirs:
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).touch()
    claimed(root, OTHER, overwrite=True)
    assert not any((root / name).exists() for name in ours)
    assert all((root / name).exists() for name in theirs)
    claimed(root, OTHER)


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_foreign_directory_is_never_touched(root, overwrite):
    root.mkdir()
    (root / "thesis.tex").touch()
    with pytest.raises(PreprocessingError, match="received other files"):
        claimed(root, MINE, overwrite=overwrite)
    assert [path.name for path in root.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize("overwrite", [False, True])
def test_what_is_said_of_a_job_before_it_begins_is_neither_in_its_way_nor_deleted(root, overwrite):
    status = status_path(Path(root), JobStage.PREPROCESS)
    status.parent.mkdir(parents=True)
    status.write_text("no JSON: nobody here reads it")
    claimed(root, MINE, overwrite=overwrite)
    claimed(root, OTHER, overwrite=True)
    assert status.read_text() == "no JSON: nobody here reads it"
    (root / "jobs.txt").touch()
    (root / OWNER_NAME).unlink()
    with pytest.raises(PreprocessingError, match="received other files"):
        claimed(root, MINE)


def test_a_file_is_no_directory(root):
    root.write_text("x")
    with pytest.raises(PreprocessingError, match="expected a new or empty directory"):
        claimed(root, MINE, overwrite=True)


def test_a_dataset_of_an_earlier_version_goes_only_when_asked_for(root):
    claimed(root, MINE)
    (root / OWNER_NAME).write_text('{"fingerprint": "1", "settings": {}}')
    with pytest.raises(OtherVersionError, match=r"version 1, received none; .*--overwrite"):
        claimed(root, MINE)
    claimed(root, MINE, overwrite=True)


def test_a_dataset_without_its_plan_is_told_of_and_can_be_replaced(root):
    with claim(root, MINE, overwrite=False):
        splits = {split: SplitShards(shards=(), records=0) for split in ("train", "heldout")}
        Manifest(
            content_digest=content_digest(splits, ""),
            labels_digest="",
            fingerprint="1",
            code_version="",
            settings={},
            counts=ImageCounts(listed=0, written=0, rejected=0, duplicates=0),
            splits=splits,
            num_classes=0,
        ).write(root / "manifest.json")
    shutil.rmtree(root / "plan")
    with pytest.raises(PreprocessingError, match=r"a dataset without its plan/.*--overwrite"):
        claimed(root, MINE)
    claimed(root, MINE, overwrite=True)
    assert not (root / "manifest.json").exists()
