"""Files that are not those of the manifest are named, without reading them."""

import os
import re

import numpy as np
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from upath import UPath

from manylabel.storage import shard_files
from manylabel.storage.dataset import Dataset
from manylabel.storage.errors import DamagedShardError, UnreachableShardError, UnreachableTableError
from manylabel.storage.schema import LabelledImage, SplitName
from manylabel.storage.shard_files import check_shards, find_problems

SHARD = "train/train-00001-of-00003.tfrecord"
INDEX = "train/train-00001-of-00003.index.parquet"
ENDS = "train/train-00002-of-00003.tfrecord"


def image(number, size=20_000):
    data = np.random.default_rng(number).integers(0, 256, size, np.uint8).tobytes()
    return LabelledImage(f"{number}.jpg", data, 4, 4, (0,), (1.0,))


@pytest.fixture
def root(write_root):
    """Three shards, the last of equal size with the first."""
    images = [image(number, 20_000 + number) for number in range(4)]
    return write_root([[image(6), image(7)], images, [image(8), image(9)]])


def problem_of(root):
    with pytest.raises(DamagedShardError) as raised:
        check_shards(Dataset.open(root), SplitName.TRAIN)
    message = str(raised.value)
    assert "\n" not in message
    assert "manylabel dataset verify" in message
    return message


def test_a_whole_dataset_passes(root, write_root, tmp_path):
    check_shards(Dataset.open(root), *SplitName)
    with_an_empty_shard = write_root([[image(0)], []], tmp_path / "other")
    check_shards(Dataset.open(with_an_empty_shard), *SplitName)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, r"a Git LFS pointer; run `git lfs pull`"),
        (lambda data: b"<!doctype html>\n<title>Sign in</title>", r"a web page; .* signed in"),
        (lambda data: b'{"error": "not found"}', r"text that begins '{\"error\": \"not found\"}'"),
        (lambda data: b"", r"received 0 bytes, an empty file; copy it again"),
        (lambda data: data[:50_000], r"received 50,000 of them, cut short; copy it again"),
        (lambda data: data[:100], r"received 100 of them, cut short"),
        (lambda data: data[:7], r"received 7 of them, cut short"),
        (lambda data: data + data, r"something behind its records"),
        (lambda data: data.replace(b"\n", b"\r\n"), r"transferred as text .* as binary"),
        (
            lambda data: data.decode("utf-8", "replace").encode(),
            r"decoded and written as text .* as binary",
        ),
        (lambda data: b"PAR1" + data, r"no TFRecord \(it begins with 50 41 52 31\)"),
        (lambda data: bytes(len(data)), r"zeros, as an unfinished download"),
        (
            lambda data: data[:60_000] + bytes(len(data) - 60_000),
            r"received as many, of which some",
        ),
    ],
    ids=[
        *("pointer", "page", "answer", "empty", "cut", "cut in a record", "cut in a header"),
        *("twice", "crlf", "utf8", "other", "zeros", "preallocated"),
    ],
)
def test_what_lies_in_a_shards_place_is_named(root, lfs_pointer, content, told):
    data = (root / SHARD).read_bytes()
    (root / SHARD).write_bytes(content(data) if content else lfs_pointer)
    message = problem_of(root)
    assert message.startswith(f"{root / SHARD}: expected the {len(data):,} bytes that manifest")
    assert re.search(told, message), message


def test_swapped_shards_are_found_also_where_their_sizes_are_equal(root):
    first = "train/train-00000-of-00003.tfrecord"
    assert (root / first).stat().st_size == (root / ENDS).stat().st_size
    os.rename(root / first, root / "other")
    os.rename(root / ENDS, root / first)
    os.rename(root / "other", root / ENDS)
    message = problem_of(root)
    assert f"another shard, {ENDS}; copy both again" in message
    assert "(and 1 more)" in message


def test_a_shard_of_another_size_in_its_place_is_named(root):
    (root / SHARD).write_bytes((root / ENDS).read_bytes())
    assert f"another shard, {ENDS}" in problem_of(root)


def test_a_shard_of_another_dataset_is_named_by_its_first_image(root, write_root, tmp_path):
    other = write_root([[image(3)], [image(5)], [image(6)]], tmp_path / "other")
    (root / SHARD).write_bytes((other / SHARD).read_bytes())
    assert "another shard (it begins with image '5.jpg')" in problem_of(root)


@pytest.mark.parametrize("path", [SHARD, INDEX])
def test_a_file_that_is_not_there_is_named_with_what_is(root, path):
    (root / path).unlink()
    assert f"{root / path}: expected a file that manifest.json lists, found none" in problem_of(
        root
    )
    (root / path).mkdir()
    assert f"{root / path}: expected a file, received a folder" in problem_of(root)
    (root / path).rmdir()
    (root / path).symlink_to("../.git/annex/objects/Xy/9/SHA256E-s7--ab")
    assert "received a link to ../.git/annex/objects" in problem_of(root)
    assert "`git annex get`" in problem_of(root)


def test_links_to_whole_files_pass(root, tmp_path):
    for path in (SHARD, INDEX):
        kept = tmp_path / "elsewhere" / path
        kept.parent.mkdir(parents=True, exist_ok=True)
        (root / path).rename(kept)
        (root / path).symlink_to(kept)
    check_shards(Dataset.open(root), SplitName.TRAIN)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "received a Git LFS pointer"),
        (lambda data: b"", "received an empty file"),
        (lambda data: data[:-9], "a Parquet file that was cut short of"),
        (lambda data: bytes(range(256)) * 9, "another file of 2,304 bytes"),
    ],
)
def test_what_lies_in_an_indexs_place_is_named(root, lfs_pointer, content, told):
    data = (root / INDEX).read_bytes()
    (root / INDEX).write_bytes(content(data) if content else lfs_pointer)
    message = problem_of(root)
    assert message.startswith(f"{root / INDEX}: expected an index, ")
    assert told in message


def test_reading_record_by_record_says_the_same(root, lfs_pointer):
    (root / SHARD).write_bytes(lfs_pointer)
    with pytest.raises(DamagedShardError, match=r"00001-of-00003\.tfrecord: .* a Git LFS pointer"):
        list(Dataset.open(root).iterate("train"))


def test_far_away_no_whole_file_is_read_and_each_folder_is_listed_once(
    root, lfs_pointer, monkeypatch
):
    """Only what has another size, or an index that is too small, is opened."""
    far = UPath("memory://far/dataset")
    for path in root.rglob("*.*"):
        (far / str(path.relative_to(root))).parent.mkdir(parents=True, exist_ok=True)
        (far / str(path.relative_to(root))).write_bytes(path.read_bytes())
    monkeypatch.setattr(shard_files, "_SMALL_INDEX", 1)
    dataset, opened, listed = Dataset.open(str(far)), [], []
    real_open, real_list = MemoryFileSystem.open, MemoryFileSystem.ls

    def watched_open(self, path, *rest, **options):
        opened.append(path.rpartition("/")[2])
        return real_open(self, path, *rest, **options)

    def watched_list(self, path, *rest, **options):
        listed.append(path)
        return real_list(self, path, *rest, **options)

    monkeypatch.setattr(MemoryFileSystem, "open", watched_open)
    monkeypatch.setattr(MemoryFileSystem, "ls", watched_list)
    different_sizes = dataset.split("train").shards[:2]
    assert find_problems(dataset, different_sizes) == {}
    assert (opened, len(listed)) == ([], 1)
    (far / SHARD).write_bytes(lfs_pointer)
    opened.clear()
    assert "a Git LFS pointer" in find_problems(dataset, different_sizes)[SHARD]
    assert set(opened) == {SHARD.rpartition("/")[2]}
    far.fs.rm(far.path, recursive=True)


def test_trouble_with_the_storage_is_no_damage(root, monkeypatch):
    def fail(*arguments):
        raise TimeoutError

    monkeypatch.setattr(shard_files, "read_head", fail)
    with pytest.raises(UnreachableShardError, match=r"tfrecord: cannot be read now: TimeoutError;"):
        check_shards(Dataset.open(root), SplitName.TRAIN)


def test_an_index_that_storage_refuses_is_not_one_that_is_missing(root, monkeypatch):
    """By it alone the first shard and the last, of equal size, are told apart."""

    def refuse(self, shard):
        raise UnreachableTableError(f"{shard.index_path}: cannot be read now: TimeoutError")

    monkeypatch.setattr(Dataset, "read_index", refuse)
    with pytest.raises(UnreachableShardError, match=r"index\.parquet: cannot be read now: Timeout"):
        check_shards(Dataset.open(root), SplitName.TRAIN)
