"""A folder of Parquet parts, which is one table."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from upath import UPath

from manylabel.preprocessing.catalogs import (
    catalog_digest,
    catalog_files,
    detect_format,
    image_root,
)
from manylabel.preprocessing.catalogs.parts import list_parts
from manylabel.preprocessing.config import CatalogConfig, CatalogFormat
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
    for name in ("_SUCCESS", "_metadata", ".part-0.parquet.crc", "part-0.crc", ".DS_Store"):
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


@pytest.mark.parametrize("name", ["1.jpg", "README.md", "cats/1.jpg"])
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
    assert list(list_parts(UPath(table))) == ["1.parquet", "up"]


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
