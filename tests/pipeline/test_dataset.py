"""`manylabel dataset verify`: what it prints, and its exit codes."""

import json

import pytest

from manylabel.pipeline import cli
from manylabel.preprocessing import verification
from manylabel.storage import shard_files
from manylabel.storage.manifest import HELDOUT_IMAGES_NAME
from manylabel.storage.schema import DUPLICATES_SCHEMA, REJECTED_SCHEMA
from manylabel.storage.tables import write_table

SHARD = "heldout/heldout-00000-of-00001.tfrecord"


@pytest.fixture
def root(make_dataset):
    root = make_dataset({"a.jpg": [0], "b.jpg": [1]}, [3, 4]).root
    write_table(root / "rejected.parquet", REJECTED_SCHEMA.empty_table())
    write_table(root / "duplicates.parquet", DUPLICATES_SCHEMA.empty_table())
    return root


def test_a_whole_dataset_is_told_by_its_content(root, capsys):
    assert cli.run(["dataset", "verify", str(root)]) == 0
    captured = capsys.readouterr()
    assert f"{root}: whole, 1 shards of 0.0 MB, content " in captured.out
    assert captured.err == ""


def test_what_is_damaged_is_told_a_line_each(root, capsys, lfs_pointer):
    (root / SHARD).write_bytes(lfs_pointer)
    (root / HELDOUT_IMAGES_NAME).write_bytes(lfs_pointer)
    assert cli.run(["dataset", "verify", str(root)]) == 2
    captured = capsys.readouterr()
    assert f"{root}: 2 files damaged; 1 shards" in captured.out
    assert "--repair writes them again" in captured.out
    shard, table = captured.err.splitlines()
    assert shard.startswith(f"error: {root / SHARD}: expected the ")
    assert "a Git LFS pointer; run `git lfs pull`" in shard
    assert "heldout_images.parquet: not a readable Parquet file, but a Git LFS" in table
    assert cli.run(["dataset", "verify", str(root), "--repair"]) == 2
    shard, table = capsys.readouterr().err.splitlines()
    assert "not written again: there is no plan/ of this dataset" in shard


def test_an_index_is_written_again_and_told(root, capsys):
    index = SHARD.replace(".tfrecord", ".index.parquet")
    (root / index).unlink()
    assert cli.run(["dataset", "verify", str(root), "--repair"]) == 0
    assert f"written again: {index}\n{root}: whole again" in capsys.readouterr().out
    assert cli.run(["dataset", "verify", str(root)]) == 0


def test_storage_that_fails_is_no_damage(root, monkeypatch, capsys):
    def fail(path):
        raise TimeoutError(110, "Connection timed out", str(path))

    monkeypatch.setattr(verification, "file_sha256", fail)
    assert cli.run(["dataset", "verify", str(root)]) == 75
    assert "cannot be read now: Connection timed out" in capsys.readouterr().err


def test_a_stop_ends_it_in_one_line(root, monkeypatch, capsys):
    def stop(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(shard_files, "file_sizes", stop)
    assert cli.run(["dataset", "verify", str(root)]) == 130
    assert capsys.readouterr().err.startswith("stopped; the same command begins again")


def test_where_the_pictures_are_is_asked_for_a_repair_alone(root, capsys):
    assert cli.run(["dataset", "verify", str(root), "--image-root", "x"]) == 2
    assert "expected --repair" in capsys.readouterr().err
    assert cli.run(["dataset", "verify", str(root / "nowhere")]) == 2
    assert "no such dataset directory" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("catalog", "option", "reason"),
    [
        ({"http": {}}, "--image-root", "made of pictures that its catalog names by URL"),
        ({}, "--heldout-image-root", "has no held-out catalog"),
    ],
)
def test_a_place_of_pictures_that_there_are_none_of_is_named(
    root, capsys, lfs_pointer, catalog, option, reason
):
    path = root / "manifest.json"
    manifest = json.loads(path.read_bytes())
    manifest["settings"] = {"catalog": {"path": "labels.csv"} | catalog}
    path.write_text(json.dumps(manifest))
    (root / SHARD).write_bytes(lfs_pointer)
    assert cli.run(["dataset", "verify", str(root), "--repair", option, str(root)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{option} is given, but this dataset" in line
    assert reason in line
