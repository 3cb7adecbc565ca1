"""Which format a catalog has, where its images are, and paths that nothing can open."""

import os

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from manylabel.preprocessing.catalog_config import CatalogConfig, CatalogFormat
from manylabel.preprocessing.catalogs import (
    catalog_files,
    detect_format,
    image_root,
    root_spellings,
)
from manylabel.preprocessing.errors import PreprocessingError

ROW = "image_path,label,confidence\na.jpg,cat,1\n"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        *((f"c{end}", CatalogFormat.CSV) for end in (".csv", ".tsv", ".csv.gz", ".TSV.GZ")),
        *((f"c{end}", CatalogFormat.JSONL) for end in (".jsonl", ".ndjson", ".ndjson.gz")),
        *((f"c{end}", CatalogFormat.PARQUET) for end in (".PARQUET", ".gz.parquet", ".pq")),
    ],
)
def test_format_by_suffix(tmp_path, name, expected):
    (tmp_path / name).touch()
    assert detect_format(CatalogConfig(path=str(tmp_path / name))) is expected


def test_format_of_a_folder(tmp_path):
    assert detect_format(CatalogConfig(path=str(tmp_path))) is CatalogFormat.FOLDER


def test_given_format_outweighs_the_suffix(tmp_path, rows_of):
    (tmp_path / "c.txt").write_text(ROW)
    assert len(rows_of(tmp_path / "c.txt", format="csv")) == 1


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("missing.csv", {}, "no such catalog"),
        ("c.txt", {}, "expected a file that ends in .*, received another; set"),
        ("c.csv", {"format": "folder"}, "expected a catalog of format folder, received a file"),
        ("empty", {"format": "csv"}, "expected a folder of csv files, received one without any"),
        (".", {"format": "csv"}, "pipe.csv: expected a part of the table .*, received no file"),
        ("pipe.csv", {}, "can be read more than once, received a pipe"),
    ],
)
def test_what_does_not_fit(tmp_path, name, settings, message):
    (tmp_path / "empty").mkdir()
    (tmp_path / "c.txt").touch()
    (tmp_path / "c.csv").touch()
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(PreprocessingError, match=message):
        catalog_files(CatalogConfig(path=str(tmp_path / name), **settings))


def test_image_root(tmp_path):
    (tmp_path / "pictures").mkdir()
    path = tmp_path / "c.csv"
    path.touch()
    given = CatalogConfig(path=str(path), image_root=str(tmp_path / "pictures"))
    assert image_root(CatalogConfig(path=str(path))) == tmp_path
    (tmp_path / "pictures" / "a.jpg").touch()
    assert image_root(CatalogConfig(path=str(tmp_path))) == tmp_path
    assert image_root(given) == tmp_path / "pictures"
    with pytest.raises(PreprocessingError, match="nowhere: no such directory; set"):
        image_root(CatalogConfig(path=str(path), image_root=str(tmp_path / "nowhere")))


def test_a_catalog_that_is_not_there_is_missed_before_its_images_are(tmp_path):
    with pytest.raises(PreprocessingError, match="no such catalog"):
        image_root(CatalogConfig(path=str(tmp_path / "nowhere" / "c.csv")))


def test_a_tilde_is_the_home_directory(tmp_path, monkeypatch, rows_of):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "sets").mkdir()
    (tmp_path / "sets" / "c.csv").write_text(ROW)
    assert len(rows_of("~/sets/c.csv")) == 1
    assert image_root(CatalogConfig(path="~/sets/c.csv")) == tmp_path / "sets"
    assert image_root(CatalogConfig(path="~/sets/c.csv", image_root="~")) == tmp_path


@pytest.mark.parametrize(
    "text",
    [
        "season:/c.csv",
        "nosuch://host/c.csv",
        "s3:/bucket/c.csv",
        "zip://c.csv::file:///nowhere.zip",
        "github://c.csv",
        "~nobody-of-this-name/c.csv",
        "~",
        "c\0.csv",
    ],
)
@pytest.mark.parametrize("setting", ["path", "image_root"])
def test_what_cannot_be_opened_is_one_line(tmp_path, monkeypatch, text, setting):
    monkeypatch.setenv("HOME", str(tmp_path / "nowhere"))
    (tmp_path / "c.csv").write_text(ROW)
    config = CatalogConfig(**{"path": str(tmp_path / "c.csv")} | {setting: text})
    with pytest.raises(PreprocessingError, match=rf"preprocessing\.catalog\.{setting}") as error:
        detect_format(config) if setting == "path" else image_root(config)
    assert "\n" not in str(error.value)


class _Unreachable(MemoryFileSystem):
    protocol = "unreachable"

    def info(self, path, **options):
        raise RuntimeError("no answer:\n<html>...")


def test_a_storage_that_does_not_answer_is_one_line():
    fsspec.register_implementation("unreachable", _Unreachable, clobber=True)
    with pytest.raises(PreprocessingError, match=r"RuntimeError: no answer: <html>") as error:
        detect_format(CatalogConfig(path="unreachable://c.csv"))
    assert "\n" not in str(error.value)


def test_a_local_path_may_look_like_a_url(tmp_path, monkeypatch, rows_of):
    (tmp_path / "season:").mkdir()
    (tmp_path / "season:" / "c.csv").write_text(ROW)
    monkeypatch.chdir(tmp_path)
    assert len(rows_of("./season:/c.csv")) == len(rows_of(tmp_path / "season:" / "c.csv")) == 1


def test_a_file_url_is_no_url(tmp_path, rows_of):
    """What stands behind file:// is a path as it is, whatever marks of URLs it has."""
    for name in ("a b", "a#b", "a?b", "a%20b", "é", "a+b", "{x}", "[y]", "a&b=c", "season:", "*"):
        (tmp_path / name / "cat").mkdir(parents=True)
        (tmp_path / name / "cat" / "x.jpg").touch()
        for prefix in ("file://", "local://", "file:", ""):
            assert [row[:2] for row in rows_of(f"{prefix}{tmp_path}/{name}")] == [
                ("cat/x.jpg", "cat")
            ]


@pytest.mark.parametrize(
    ("spelled", "remark"),
    [
        ("file://ROOT/a%20%C3%A9", "without the escapes of a URL, ROOT/a é"),
        ("ROOT/a%20%C3%A9", "without the escapes of a URL, ROOT/a é"),
        ("file://localhostROOT/a é", "as a plain path, ROOT/a é"),
        ("file://ROOT/b::c", "as a plain path, ROOT/b::c"),
    ],
)
def test_what_a_wrong_file_url_means_is_told(tmp_path, spelled, remark):
    for name in ("a é", "b::c"):
        (tmp_path / name).mkdir()
    config = CatalogConfig(path=spelled.replace("ROOT", str(tmp_path)))
    with pytest.raises(PreprocessingError, match="no such catalog; there is one") as error:
        detect_format(config)
    assert f"{remark.replace('ROOT', str(tmp_path))}; set" in str(error.value)


def test_a_catalog_of_another_storage(rows_of):
    root = image_root(CatalogConfig(path="memory://", image_root="memory://"))
    (root / "other" / "c.csv").write_text(ROW)
    assert rows_of("memory://other/c.csv") == [("a.jpg", "cat", "1", None)]


def test_how_the_root_may_be_spelled(tmp_path):
    (tmp_path / "pictures").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "pictures")
    (tmp_path / "pictures" / "c.csv").touch()
    real, link = str(tmp_path / "pictures"), str(tmp_path / "link")
    both = {real, link, f"file://{real}", f"file://{link}"}
    by_path = CatalogConfig(path=f"{link}/c.csv")
    by_root = CatalogConfig(path=f"{real}/c.csv", image_root=link)
    by_url = CatalogConfig(path=f"{real}/c.csv", image_root=f"file://{link}")
    for config in (by_path, by_root, by_url):
        assert set(root_spellings(config)) == both
    remote = CatalogConfig(path=f"{real}/c.csv", image_root="memory://pictures")
    image_root(CatalogConfig(path="memory://", image_root="memory://")).fs.mkdirs(
        "/pictures", exist_ok=True
    )
    assert "memory://pictures" in {root.rstrip("/") for root in root_spellings(remote)}
