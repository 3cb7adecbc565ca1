"""Where the tars of a WebDataset may lie, and what makes two of them another catalog."""

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from manylabel.preprocessing.catalog_config import CatalogConfig
from manylabel.preprocessing.catalogs import (
    catalog_digest,
    catalog_files,
    count_rows,
    image_root,
)
from manylabel.preprocessing.errors import PreprocessingError
from manylabel.preprocessing.pictures.fetch import fetch


def config_of(path, *, catalog=None):
    return CatalogConfig(path=str(path), **catalog or {})


@pytest.fixture
def pairs(rows_of):
    """Image, label and confidence of each row."""

    def read(path, *, catalog=None):
        return [row[:3] for row in rows_of(path, **catalog or {})]

    return read


@pytest.fixture
def nested(tmp_path, write_tar):
    for name in ("train/a", "train/b", "val/a"):
        path = tmp_path / f"{name}.tar"
        path.parent.mkdir(exist_ok=True)
        write_tar(path, ("0.jpg", name.encode()), ("0.cls", name))
    return tmp_path


def test_images_start_at_the_folder_before_the_pattern(nested, pairs):
    rows = pairs(nested / "{train,val}" / "a.tar")
    assert [row[0] for row in rows] == ["train/a.tar/0.jpg", "val/a.tar/0.jpg"]


def test_a_relative_pattern(nested, pairs, monkeypatch):
    monkeypatch.chdir(nested / "train")
    assert [row[0] for row in pairs("*.tar")] == ["a.tar/0.jpg", "b.tar/0.jpg"]
    assert [row[0] for row in pairs("../*/a.tar")] == ["train/a.tar/0.jpg", "val/a.tar/0.jpg"]


def test_tars_that_are_links_need_a_root_above_both(nested, pairs):
    """As in Hugging Face's cache: snapshots/REVISION/a.tar leads to blobs/DIGEST."""
    (nested / "snapshot").mkdir()
    (nested / "snapshot" / "x.tar").symlink_to("../train/a.tar")
    with pytest.raises(PreprocessingError, match=r"set preprocessing\.catalog\.image_root to"):
        pairs(nested / "snapshot")
    config = config_of(nested / "snapshot", catalog={"image_root": str(nested)})
    ((image, label, _),) = pairs(nested / "snapshot", catalog={"image_root": str(nested)})
    assert (image, label) == ("snapshot/x.tar/0.jpg", "train/a")
    assert fetch(image_root(config), image, 10) == b"train/a"


def test_the_digest_is_of_all_bytes_and_names(nested):
    def digest(path):
        return catalog_digest(config_of(path)).sha256

    digests = [digest(nested / "train"), digest(nested / "*" / "a.tar")]
    (nested / "val" / "a.tar").rename(nested / "val2")
    (nested / "train" / "a.tar").rename(nested / "val" / "a.tar")
    (nested / "val2").rename(nested / "train" / "a.tar")
    digests += [digest(nested / "train"), digest(nested / "*" / "a.tar")]
    (nested / "train" / "a.tar").rename(nested / "train" / "c.tar")
    digests.append(digest(nested / "train"))
    path = nested / "train" / "c.tar"
    path.write_bytes(path.read_bytes().replace(b"val/a", b"val/b", 1))  # A picture's bytes.
    digests.append(digest(nested / "train"))
    assert len(set(digests)) == 6


def test_on_other_storage(tmp_path, pairs, write_tar):
    write_tar(tmp_path / "a.tar", ("0.jpg", b"12345"), ("0.cls", "7"))
    storage = MemoryFileSystem()
    storage.pipe("/wds/x-0.tar", (tmp_path / "a.tar").read_bytes())
    for path in ("memory://wds", "memory://wds/x-{0..0}.tar", "memory://wds/x-0.tar"):
        assert pairs(path) == [("x-0.tar/0.jpg", "7", 1.0)]
        root = image_root(config_of(path))
        assert fetch(root, "x-0.tar/0.jpg", 5) == b"12345"
    assert catalog_files(config_of("memory://wds/*.tar")) == ["memory://wds/x-0.tar"]


def test_a_tree_of_tars_and_tars_of_several_splits(nested):
    with pytest.raises(PreprocessingError, match=r"a pattern such as .*/\*/\*\.tar"):
        catalog_files(config_of(nested))
    for name in ("train-0.tar", "val-0.tar"):
        (nested / "val" / name).hardlink_to(nested / "train" / "a.tar")
    with pytest.raises(PreprocessingError, match=r"\(of tars also a pattern\)"):
        catalog_files(config_of(nested / "val"))


def test_a_tar_may_be_called_like_a_pattern(nested, pairs):
    (nested / "train" / "a.tar").rename(nested / "train" / "{a,b}*.tar")
    assert pairs(nested / "train" / "{a,b}*.tar")[0][0] == "{a,b}*.tar/0.jpg"


def test_a_stream_of_a_shell_is_a_name():
    """WebDataset itself runs what follows on pipe:."""
    with pytest.raises(PreprocessingError, match="no such catalog"):
        count_rows(config_of("pipe:touch /tmp/x | cat a.tar"))
