"""Small Parquet files, read without leaving anything behind."""

import subprocess
import sys
from dataclasses import dataclass

import pyarrow as pa
import pytest
from upath import UPath

from preprocessing.tables import read_table, write_rows, write_table

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
    path.write_bytes(data)
    with pytest.raises(OSError, match="checksum"):
        read_table(path)


def test_a_process_that_read_tables_ends_well(tmp_path):
    """Any of pyarrow's threads that outlived the reading could abort it; none may be started."""
    path = UPath(tmp_path / "rows.parquet")
    write_rows(path, [Row("a", 1)] * 1000, SCHEMA)
    code = (
        "import os; from upath import UPath; from preprocessing.tables import read_table\n"
        "before = len(os.listdir('/proc/self/task'))\n"
        f"read_table(UPath({str(path)!r}))\n"
        "print(len(os.listdir('/proc/self/task')) - before)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "0"
