"""What holds for catalogs of every format."""

import hashlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from manylabel.preprocessing.catalog_config import CatalogConfig
from manylabel.preprocessing.catalogs import (
    catalog_digest,
    catalog_pieces,
    count_rows,
    first_rows,
    read_piece,
)
from manylabel.preprocessing.catalogs.read import FIRST_ROWS
from manylabel.preprocessing.catalogs.rows import BATCH_BYTES, BATCH_ROWS, gather
from manylabel.preprocessing.errors import PreprocessingError

ROWS = BATCH_ROWS + 1000


@pytest.fixture(params=["c.csv", "c.parquet"])
def config(request, tmp_path):
    path = tmp_path / request.param
    names = pa.array(np.arange(ROWS)).cast(pa.string())
    if path.suffix == ".csv":
        lines = "".join(f"{name},{name}\n" for name in names.to_pylist())
        path.write_text(f"image_path,label\n{lines}")
    else:
        pq.write_table(pa.table({"image_path": names, "label": names}), path)
    return CatalogConfig(path=str(path), confidence_column=None)


def test_tables_of_bounded_and_useful_sizes(config):
    tables = [table for piece in catalog_pieces(config) for table in read_piece(piece, config)]
    assert max(table.num_rows for table in tables) <= BATCH_ROWS
    assert len(tables) <= 3
    images = [image for table in tables for image in table["image"].to_pylist()]
    assert images == [str(number) for number in range(ROWS)]
    assert all(table["label"].num_chunks == 1 for table in tables)


def test_the_first_rows_are_few(config):
    rows = first_rows(config)
    assert rows is not None
    assert FIRST_ROWS <= rows.num_rows < ROWS
    assert rows["image"].to_pylist() == [str(number) for number in range(rows.num_rows)]


def test_rows_are_counted_on_the_way(config):
    told: list[int] = []
    assert count_rows(config, told.append) == ROWS
    assert told == sorted(set(told))
    assert len(told) > 1
    assert told[-1] == ROWS


def test_bytes_are_digested_on_the_way(config):
    told: list[int] = []
    digest = catalog_digest(config, told.append)
    with open(config.path, "rb") as file:
        content = file.read()
    assert digest.sha256 == hashlib.sha256(content).hexdigest()
    assert dict(digest.left_out) == {}
    assert told[-1] == len(content)


@pytest.mark.parametrize("name", ["c.csv", "c.parquet", "folder"])
def test_an_empty_catalog_is_an_error(tmp_path, name):
    (tmp_path / "folder" / "cats").mkdir(parents=True)
    (tmp_path / "c.csv").write_text("image_path,label\n")
    empty = pa.table({"image_path": pa.array([], pa.string()), "label": pa.array([], pa.string())})
    pq.write_table(empty, tmp_path / "c.parquet")
    with pytest.raises(PreprocessingError, match=f"{name}: the catalog is empty"):
        count_rows(CatalogConfig(path=str(tmp_path / name), confidence_column=None))


def test_a_failing_disk_is_no_broken_catalog():
    """A regular file that can be opened, and whose first bytes no one can read."""
    for format_ in ("csv", "parquet"):
        config = CatalogConfig(path="/proc/self/mem", format=format_)
        for read in (count_rows, catalog_digest):
            with pytest.raises(OSError, match="/proc/self/mem"):
                read(config)


def test_long_texts_are_gathered_by_their_bytes():
    table = pa.table({"text": ["x" * (BATCH_BYTES // 4)]})
    sizes = [table.num_rows for table in gather([table] * 10)]
    assert sizes == [3, 3, 3, 1]
    table = pa.table({"text": ["x" * (2 * BATCH_BYTES)]})
    assert [table.num_rows for table in gather([table] * 2)] == [1, 1]


def test_tables_that_are_too_long_are_cut():
    table = pa.table({"number": np.arange(2 * BATCH_ROWS + 5)})
    gathered = list(gather([table, table.slice(0, 0)]))
    assert [part.num_rows for part in gathered] == [BATCH_ROWS, BATCH_ROWS, 5]
    assert pa.concat_tables(gathered).equals(table)
