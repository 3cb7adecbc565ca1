"""A folder of Parquet parts, which is one table."""

import gzip

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from upath import UPath

from manylabel.preprocessing.catalog_config import CatalogConfig, CatalogFormat
from manylabel.preprocessing.catalogs import (
    catalog_digest,
    catalog_files,
    detect_format,
    image_root,
)
from manylabel.preprocessing.catalogs.parts import kind_of_parts, list_parts
from manylabel.preprocessing.errors import PreprocessingError


@pytest.fixture
def write(tmp_path):
    """write(name, images): a part of the table; each image has its number as its label."""

    def write(name, images, **columns):
        path = tmp_path / "labels.parquet" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        labels = [image.removesuffix(".jpg") for image in images]
        pq.write_table(pa.table(columns | {"label": labels, "image_path": images}), path)
        return tmp_path / "labels.parquet"

    return write


def images_of(rows_of, table):
    return [(image, label) for image, label, _, _ in rows_of(table, confidence_column=None)]


def test_parts_are_one_table_in_the_order_of_their_names(write, rows_of):
    """Columns are found by name in each part, wherever it has them."""
    write("part-10.parquet", ["4.jpg"])
    write("part-00.parquet", ["1.jpg", "2.jpg"], other=[1, 2])
    table = write("part-01.parquet", ["3.jpg"])
    assert images_of(rows_of, table) == [(f"{n}.jpg", str(n)) for n in (1, 2, 3, 4)]


def test_what_writers_leave_beside_the_parts_is_no_part(write, rows_of):
    write("_temporary/0/part-9.parquet", ["9.jpg"])
    table = write("part-0.parquet", ["1.jpg"])
    for name in (
        "_SUCCESS",
        "_metadata",
        ".part-0.parquet.crc",
        "part-0.crc",
        ".DS_Store",
        "Thumbs.db",
        "desktop.ini",
    ):
        (table / name).write_bytes(b"x")
    assert detect_format(CatalogConfig(path=str(table))) is CatalogFormat.PARQUET
    assert images_of(rows_of, table) == [("1.jpg", "1")]


def test_parts_in_folders(write, rows_of):
    write("2024/part-0.parquet", ["2.jpg"])
    write("part-9.parquet", ["1.jpg"])
    table = write("2025/part-0.parquet", ["3.jpg"])
    assert images_of(rows_of, table) == [("1.jpg", "1"), ("2.jpg", "2"), ("3.jpg", "3")]


def test_parts_on_another_storage(rows_of):
    folder = UPath("memory://tables/labels")
    for number in range(2):
        columns = {"image_path": [f"{number}.jpg"], "label": ["x"]}
        with (folder / f"{number}.parquet").open("wb") as file:
            pq.write_table(pa.table(columns), file)
    assert images_of(rows_of, "memory://tables/labels") == [("0.jpg", "x"), ("1.jpg", "x")]


def test_images_lie_beside_a_table_be_it_a_file_or_a_folder(write):
    table = write("part-0.parquet", ["1.jpg"])
    assert image_root(CatalogConfig(path=str(table))) == table.parent


def test_folders_that_are_columns(write, rows_of):
    """As Hive, Spark and pandas write a table by split."""
    for split in ("train", "a%20b", "__HIVE_DEFAULT_PARTITION__"):
        table = write(f"split={split}/owner=ann/part-0.parquet", [f"{split[0]}.jpg"])
    settings = {"split_column": "split", "split": "train", "group_column": "owner"}
    assert rows_of(table, confidence_column=None, **settings) == [("t.jpg", "t", 1.0, "ann")]
    settings["split"] = "a b"
    assert rows_of(table, confidence_column=None, **settings) == [("a.jpg", "a", 1.0, "ann")]
    assert len(images_of(rows_of, table)) == 3


def test_a_column_of_the_file_goes_before_one_of_its_folder(write, rows_of):
    table = write("split=train/part-0.parquet", ["1.jpg"], split=["test"])
    settings = {"confidence_column": None, "split_column": "split"}
    assert rows_of(table, split="train", **settings) == []
    assert len(rows_of(table, split="test", **settings)) == 1


def test_folders_above_the_table_are_no_columns(tmp_path, rows_of):
    """Where a table lies is no part of what it says."""
    folder = tmp_path / "label=dog" / "table"
    folder.mkdir(parents=True)
    pq.write_table(pa.table({"image_path": ["a.jpg"]}), folder / "0.parquet")
    for path in (folder, folder / "0.parquet"):
        with pytest.raises(PreprocessingError, match="label"):
            rows_of(path)
    assert images_of(rows_of, tmp_path) == [("a.jpg", "dog")]


def test_folders_are_no_labels_of_a_wide_table(tmp_path, rows_of):
    (tmp_path / "t" / "year=2024").mkdir(parents=True)
    pq.write_table(
        pa.table({"image_path": ["a"], "cat": [1]}), tmp_path / "t" / "year=2024" / "0.parquet"
    )
    assert rows_of(tmp_path / "t", label_columns=["*"]) == [("a", "cat", 1.0, None)]


def test_parts_of_text(tmp_path, rows_of):
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "part-0.csv").write_text("image_path,label\na,cat\n")
    (tmp_path / "t" / "part-1.csv.gz").write_bytes(gzip.compress(b"label;image_path\ndog;b\n"))
    assert images_of(rows_of, tmp_path / "t") == [("a", "cat"), ("b", "dog")]
    (tmp_path / "j" / "x").mkdir(parents=True)
    (tmp_path / "j" / "0.jsonl").write_text('{"image_path": "a", "label": ["cat"]}')
    (tmp_path / "j" / "x" / "1.ndjson").write_text('{"label": "dog", "image_path": "b"}')
    assert images_of(rows_of, tmp_path / "j") == [("a", "cat"), ("b", "dog")]


@pytest.mark.parametrize(
    "names",
    [
        ("train-00000-of-00002.parquet", "train-00001-of-00002.parquet", "test-0.parquet"),
        ("train.parquet", "validation.parquet"),
        ("train/0.parquet", "val/0.parquet"),
        ("data_2/Train_1.parquet", "data_2/Dev_1.parquet"),
        ("split=train/0.parquet", "split=test/0.parquet"),
    ],
)
def test_parts_of_several_splits_are_not_mixed(write, names):
    for name in names:
        table = write(name, ["1.jpg"])
    with pytest.raises(PreprocessingError, match=r"received those of several splits: .*; set"):
        catalog_files(CatalogConfig(path=str(table)))


def test_a_column_of_folders_says_which_split_is_read(write):
    for name in ("split=train/0.parquet", "split=test/0.parquet"):
        table = write(name, ["1.jpg"])
    with pytest.raises(PreprocessingError, match=r"alone, or preprocessing.catalog.split_column"):
        catalog_files(CatalogConfig(path=str(table)))
    config = CatalogConfig(path=str(table), split_column="split", split="train")
    assert len(catalog_files(config)) == 2


def test_names_that_begin_like_those_of_splits(write):
    for name in ("trains-0.parquet", "testing.parquet", "valley.parquet", "train-0.parquet"):
        table = write(name, ["1.jpg"])
    assert len(catalog_files(CatalogConfig(path=str(table)))) == 4


@pytest.mark.parametrize(
    ("name", "kind"),
    [("_delta_log/0.json", "Delta Lake"), ("metadata/v1.metadata.json", "Iceberg")],
)
def test_tables_of_which_only_some_parts_hold(write, name, kind):
    table = write("data/0.parquet", ["1.jpg"])
    (table / name).parent.mkdir()
    (table / name).touch()
    with pytest.raises(PreprocessingError, match=f"received a table of {kind}, of which only some"):
        catalog_files(CatalogConfig(path=str(table), format="parquet"))


@pytest.mark.parametrize("name", ["1.jpg", "README.md", "cats/1.jpg", "1.csv"])
def test_a_folder_with_other_files_is_one_of_pictures(write, name):
    table = write("z.parquet", ["1.jpg"])
    (table / name).parent.mkdir(exist_ok=True)
    (table / name).touch()
    assert detect_format(CatalogConfig(path=str(table))) is CatalogFormat.FOLDER


def test_a_part_that_is_none_is_named(write, rows_of):
    table = write("1.parquet", ["1.jpg"])
    (table / "2.txt").write_text("not Parquet")
    with pytest.raises(PreprocessingError, match=r"2\.txt: expected Parquet"):
        rows_of(table, format="parquet", confidence_column=None)


def test_a_folder_without_parts(tmp_path):
    (tmp_path / "_SUCCESS").touch()
    with pytest.raises(PreprocessingError, match="expected a folder of parquet files, received"):
        catalog_files(CatalogConfig(path=str(tmp_path), format="parquet"))


def test_links_that_lead_up_are_not_followed(write):
    table = write("1.parquet", ["1.jpg"])
    (table / "up").symlink_to(table)
    assert list_parts(UPath(table)) == ["1.parquet", "up"]
    with pytest.raises(PreprocessingError, match=r"up: expected a part .*, received no file"):
        catalog_files(CatalogConfig(path=str(table), format="parquet"))


def test_the_first_picture_of_a_folder_says_that_it_is_no_table(tmp_path):
    """Else folders of millions of pictures were listed each time their format is asked for."""
    for number in range(200):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "a.jpg").touch()
    seen = []

    def kind_of(name):
        seen.append(name)

    assert kind_of_parts(UPath(tmp_path), kind_of) is None
    assert seen == ["a.jpg"]


def test_the_digest_covers_all_parts_and_their_names_but_not_where_they_lie(write, tmp_path):
    def digest():
        return catalog_digest(CatalogConfig(path=str(table))).sha256

    write("1.parquet", ["1.jpg"])
    table = write("2.parquet", ["2.jpg"])
    seen = {digest()}
    table = table.rename(tmp_path / "elsewhere")
    assert {digest()} == seen
    (table / "2.parquet").rename(table / "3.parquet")
    seen.add(digest())
    (table / "4.parquet").write_bytes((table / "3.parquet").read_bytes())
    seen.add(digest())
    (table / "1.parquet").write_bytes((table / "3.parquet").read_bytes())
    seen.add(digest())
    assert len(seen) == 4


def test_bytes_of_all_parts_are_told_on_the_way(write):
    write("1.parquet", ["1.jpg"])
    table = write("2.parquet", ["2.jpg"])
    told: list[int] = []
    catalog_digest(CatalogConfig(path=str(table)), told.append)
    assert told == [
        (table / "1.parquet").stat().st_size,
        sum(p.stat().st_size for p in table.iterdir()),
    ]
