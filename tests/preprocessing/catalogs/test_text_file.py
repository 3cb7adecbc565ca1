"""Packed text: known by its bytes, read in bounded memory, and told of when it is damaged."""

import collections
import gzip
import tracemalloc
import zlib

import pytest

from manylabel.preprocessing.catalog_config import CatalogConfig
from manylabel.preprocessing.catalogs import CatalogDigest, catalog_digest, detect_format
from manylabel.preprocessing.catalogs.csv_file import read_csv
from manylabel.preprocessing.catalogs.text_file import MAX_LINE_BYTES
from manylabel.preprocessing.errors import PreprocessingError

TEXT = b"image_path,label\n" + b"".join(b"%d.jpg,cat %d\n" % (n, n) for n in range(5000))
JSON = b'{"image_path": "0.jpg", "label": "cat 0"}\n'


@pytest.fixture
def read(tmp_path, rows_of):
    def read(name, data):
        (tmp_path / name).write_bytes(data)
        return [row[:2] for row in rows_of(tmp_path / name, confidence_column=None)]

    return read


@pytest.mark.parametrize("name", ["c.csv.gz", "c.CSV.GZ", "c.csv", "c.tsv.gz"])
def test_packed_text_by_any_name(read, name):
    rows = read(name, gzip.compress(TEXT))
    assert len(rows) == 5000
    assert rows[-1] == ("4999.jpg", "cat 4999")


@pytest.mark.parametrize("name", ["c.jsonl.gz", "c.ndjson.gz", "c.jsonl"])
def test_packed_json_lines(read, name):
    assert read(name, gzip.compress(JSON)) == [("0.jpg", "cat 0")]


@pytest.mark.parametrize("name", ["c.csv.gz", "c.jsonl.gz"])
def test_text_that_a_download_unpacked_on_its_way(read, name):
    assert len(read(name, TEXT if "csv" in name else JSON)) > 0


def test_several_packed_files_in_one(read):
    """As bgzip writes them, and cat joins them."""
    assert len(read("c.csv.gz", gzip.compress(TEXT[:1000]) + gzip.compress(TEXT[1000:]))) == 5000


@pytest.mark.parametrize("left", [3, 15, 5000])
def test_a_packed_file_that_is_cut_short(read, left):
    with pytest.raises(PreprocessingError, match=r"c\.csv\.gz: .* cut short; copy or download"):
        read("c.csv.gz", gzip.compress(TEXT)[:left])


def test_a_packed_file_that_is_damaged(read):
    data = bytearray(gzip.compress(TEXT))
    for at, value in ((1000, data[1000] ^ 1), (len(data) - 6, 0)):
        damaged = data[:at] + bytes([value]) + data[at + 1 :]
        with pytest.raises(
            PreprocessingError, match=r"packed with gzip, received damage|cut short"
        ):
            read("c.csv.gz", bytes(damaged))
    with pytest.raises(PreprocessingError, match=r"received damage \(Not a gzipped file"):
        read("c.csv.gz", bytes(data) + b"and more")


def test_what_is_packed_small_is_not_unpacked_whole(tmp_path):
    packer = zlib.compressobj(1, zlib.DEFLATED, 31)
    head = b"image_path,label\n" + b"a.jpg,cat\n" * 1000
    bomb = [packer.compress(head)] + [packer.compress(bytes(1 << 24)) for _ in range(8)]
    (tmp_path / "c.csv.gz").write_bytes(b"".join([*bomb, packer.flush()]))
    config = CatalogConfig(path=str(tmp_path / "c.csv.gz"), confidence_column=None)
    tracemalloc.start()
    try:
        with pytest.raises(PreprocessingError, match="received a line of more than"):
            collections.deque(read_csv(config), maxlen=0)
        assert tracemalloc.get_traced_memory()[1] < 4 * MAX_LINE_BYTES
    finally:
        tracemalloc.stop()


def test_a_packed_catalog_is_digested_as_it_lies(tmp_path):
    data = gzip.compress(TEXT, mtime=0)
    (tmp_path / "c.csv.gz").write_bytes(data)
    config = CatalogConfig(path=str(tmp_path / "c.csv.gz"))
    other = tmp_path / "c.csv"
    other.write_bytes(data)
    assert detect_format(config) == "csv"
    assert isinstance(catalog_digest(config), CatalogDigest)
    assert catalog_digest(config) == catalog_digest(CatalogConfig(path=str(other)))
