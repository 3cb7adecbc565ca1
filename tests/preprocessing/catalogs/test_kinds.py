"""Files of other kinds, which are known by their bytes and named with what to do."""

import gzip
import io
import json
import pickle
import sqlite3
import tarfile
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.ipc
import pyarrow.orc
import pyarrow.parquet as pq
import pytest

from manylabel.preprocessing.catalog_config import CatalogConfig
from manylabel.preprocessing.catalogs import count_rows, detect_format
from manylabel.preprocessing.errors import PreprocessingError

TEXT = "image_path,label\na.jpg,cat\n"
TABLE = pa.table({"image_path": ["a.jpg"], "label": ["cat"]})


def zipped(*names):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, "x" * 100)
    return file.getvalue()


def open_document():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet")
    return file.getvalue()


def written(write):
    file = pa.BufferOutputStream()
    write(file)
    return file.getvalue().to_pybytes()


def ipc_stream(sink):
    with pa.ipc.new_stream(sink, TABLE.schema) as writer:
        writer.write_table(TABLE)


def numpy_file(save):
    file = io.BytesIO()
    save(file, np.zeros(3))
    return file.getvalue()


def tar():
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a.jpg"))
    return file.getvalue()


def database(tmp_path):
    sqlite3.connect(tmp_path / "d").execute("create table labels (image_path)").connection.close()
    return (tmp_path / "d").read_bytes()


KINDS = [
    ("an Excel workbook", "CSV UTF-8", zipped("[Content_Types].xml", "xl/workbook.xml")),
    ("an Excel workbook", "CSV UTF-8", bytes.fromhex("d0cf11e0a1b11ae1")),
    ("an OpenDocument sheet", "CSV UTF-8", open_document()),
    ("a zip archive", "unpack it", zipped("labels.csv")),
    ("a NumPy archive", "CSV or Parquet", numpy_file(np.savez)),
    ("a NumPy array", "CSV or Parquet", numpy_file(np.save)),
    (
        "an Arrow or Feather file",
        "read_feather",
        written(lambda f: pa.feather.write_feather(TABLE, f)),
    ),
    (
        "an Arrow or Feather file",
        "read_feather",
        written(lambda f: pa.ipc.new_file(f, TABLE.schema).close()),
    ),
    ("a Feather file", "read_feather", b"FEA1" + bytes(100)),
    ("a stream of Arrow tables", "pyarrow.ipc", written(ipc_stream)),
    ("an ORC file", "read_orc", written(lambda f: pa.orc.write_table(TABLE, f))),
    ("an Avro file", "Parquet", b"Obj\x01\x04\x14avro.codec"),
    ("a pickle", "to_parquet", pickle.dumps({"label": ["cat"]})),
    ("a pickle", "to_parquet", pickle.dumps([TEXT], protocol=2)),
    ("a page of a web site", "again", b"\n<!DOCTYPE html>\n<html><title>Log in"),
    ("a page of a web site", "again", b"\xef\xbb\xbf<HTML>"),
    ("XML", "CSV", b'<?xml version="1.0"?><annotation>'),
    ("a Git LFS pointer", "git lfs pull", b"version https://git-lfs.github.com/spec/v1\noid"),
    ("a tar archive", "unpack it", tar()),
    ("a bzip2 file", "gzip", b"BZh91AY&SY"),
    ("a zstd file", "gzip", bytes.fromhex("28b52ffd04")),
    ("a picture", "folder", b"\xff\xd8\xff\xe0"),
    ("text in UTF-16", "iconv -f UTF-16 ", TEXT.encode("utf-16")),
    ("text in UTF-16", "iconv -f UTF-16 ", b"\xfe\xff" + TEXT.encode("utf-16-be")),
    ("text in UTF-16LE", "iconv -f UTF-16LE ", TEXT.encode("utf-16-le")),
    ("text in UTF-16BE", "iconv -f UTF-16BE ", TEXT.encode("utf-16-be")),
    ("text in UTF-32", "iconv -f UTF-32 ", TEXT.encode("utf-32")),
]


def message_of(path, **settings):
    config = CatalogConfig(path=str(path), confidence_column=None, **settings)
    with pytest.raises(PreprocessingError) as error:
        count_rows(config)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet", ".csv.gz", ".dat", ""])
@pytest.mark.parametrize(("name", "remedy", "data"), KINDS)
def test_other_kinds_are_named_whatever_they_are_called(tmp_path, suffix, name, remedy, data):
    path = tmp_path / f"c{suffix}"
    path.write_bytes(gzip.compress(data) if suffix.endswith(".gz") else data)
    message = message_of(path)
    assert f"received {name}" in message
    assert remedy in message


def test_a_database(tmp_path):
    (tmp_path / "c.csv").write_bytes(database(tmp_path))
    message = message_of(tmp_path / "c.csv")
    assert "received an SQLite database; write the table as CSV" in message


@pytest.mark.parametrize("name", ["c.csv", "c.jsonl", "c.dat"])
def test_parquet_by_another_name(tmp_path, name):
    pq.write_table(TABLE, tmp_path / name)
    assert "received Parquet; set preprocessing.catalog.format to parquet" in message_of(
        tmp_path / name
    )
    assert detect_format(CatalogConfig(path=str(tmp_path / name), format="parquet")) == "parquet"


def test_json_called_csv(tmp_path):
    row = {"image_path": "a.jpg", "label": "cat"}
    for text, expected in (
        (json.dumps(row), "received JSON lines; set preprocessing.catalog.format to jsonl"),
        (json.dumps([row]), "received a JSON array; write an object a line"),
        (json.dumps([row], indent=1), "received a JSON array; write an object a line"),
        (json.dumps(row, indent=1), "received JSON of several lines; write an object a line"),
    ):
        (tmp_path / "c.csv").write_text(text)
        assert expected in message_of(tmp_path / "c.csv")


def test_text_called_parquet(tmp_path):
    (tmp_path / "c.parquet").write_text(TEXT)
    assert "expected Parquet" in message_of(tmp_path / "c.parquet")


def test_odd_tables_are_no_other_kind(tmp_path, rows_of):
    """Names of columns that begin as other formats do."""
    for first in ("ORC", "PK", "BZ", "{", "[", "<a", "Obj"):
        (tmp_path / "c.csv").write_text(f"{first},image_path,label\n1,a.jpg,cat\n")
        if first == "ORC":
            continue  # An ORC file has a byte of its own there.
        assert len(rows_of(tmp_path / "c.csv", confidence_column=None)) == 1, first
