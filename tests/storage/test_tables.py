"""Small Parquet files."""

import pyarrow as pa
import pytest
from upath import UPath

from manylabel.storage.errors import TableError
from manylabel.storage.tables import count_values, read_rows_of, read_table, write_table

SCHEMA = pa.schema([pa.field("name", pa.string()), pa.field("count", pa.int64())])


def table_of(*rows):
    return pa.Table.from_pylist([{"name": name, "count": count} for name, count in rows], SCHEMA)


def test_rows_come_back(tmp_path):
    path = UPath(tmp_path / "rows.parquet")
    write_table(path, table_of(("b", 2), ("a", 1)))
    assert read_table(path).to_pylist() == [{"name": "b", "count": 2}, {"name": "a", "count": 1}]
    write_table(path, table_of())
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


def test_text_that_is_not_utf8_is_damage(tmp_path):
    path = tmp_path / "rows.parquet"
    texts = pa.array([b"a", b"\xff\xfe"], pa.binary()).view(pa.string())
    write_table(path, pa.table({"name": texts, "key": pa.array([1, 2], pa.int32())}))
    schema = pa.schema([pa.field("name", pa.string()), pa.field("key", pa.int32())])
    for read in (
        lambda: read_table(path),
        lambda: read_rows_of(path, schema, "key", 2),
        lambda: count_values(path, "name"),
    ):
        with pytest.raises(TableError, match=r"rows\.parquet: not a readable Parquet file: .*UTF8"):
            read()


SORTED = pa.schema([pa.field("key", pa.int32()), pa.field("value", pa.int64())])


def test_the_rows_of_a_key_are_read_without_the_others(tmp_path):
    path = tmp_path / "sorted.parquet"
    keys = sorted([*range(100), 7, 7, 8])
    table = pa.table({"key": keys, "value": range(len(keys))}, schema=SORTED)
    write_table(path, table, row_group_size=8)
    for key, values in ((7, [7, 8, 9]), (8, [10, 11]), (99, [102]), (100, [])):
        assert read_rows_of(path, SORTED, "key", key).column("value").to_pylist() == values
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 1  # In a row group far from that of key 0.
    path.write_bytes(bytes(data))
    assert read_rows_of(path, SORTED, "key", 0).num_rows == 1
    damaged = 0
    for key in range(100):
        try:
            read_rows_of(path, SORTED, "key", key)
        except TableError:
            damaged += 1
    assert 0 < damaged < 20
    with pytest.raises(TableError, match=r"received \['key', 'value'\]"):
        read_rows_of(path, SCHEMA, "count", 0)
