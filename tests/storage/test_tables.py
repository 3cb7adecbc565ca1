"""Small Parquet files."""

from dataclasses import dataclass

import pyarrow as pa
import pytest
from upath import UPath

from manylabel.storage.errors import TableError
from manylabel.storage.tables import read_table, write_rows, write_table

SCHEMA = pa.schema([pa.field("name", pa.string()), pa.field("count", pa.int64())])


@dataclass(frozen=True)
class Row:
    name: str
    count: int


def test_rows_come_back(tmp_path):
    path = UPath(tmp_path / "rows.parquet")
    write_rows(path, [Row("b", 2), Row("a", 1)], SCHEMA)
    assert read_table(path).to_pylist() == [{"name": "b", "count": 2}, {"name": "a", "count": 1}]
    write_rows(path, [], SCHEMA)
    assert read_table(path).schema == SCHEMA


def test_a_changed_byte_is_found(tmp_path):
    path = UPath(tmp_path / "rows.parquet")
    write_table(path, pa.table({"number": range(10_000)}))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(TableError, match=r"rows\.parquet: not a readable Parquet file: .*checksum"):
        read_table(path)


def test_a_missing_file_and_other_columns_are_errors_of_one_line(tmp_path):
    path = tmp_path / "rows.parquet"
    with pytest.raises(TableError, match=r"rows\.parquet: no such file"):
        read_table(path)
    write_table(path, pa.table({"number": [1]}))
    with pytest.raises(TableError, match=r"columns \['name', 'count'\], received \['number'\]"):
        read_table(path, SCHEMA)
