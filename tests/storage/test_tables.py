"""Small Parquet files."""

from dataclasses import dataclass

import pyarrow as pa
import pytest
from upath import UPath

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
    with pytest.raises(OSError, match="checksum"):
        read_table(path)
