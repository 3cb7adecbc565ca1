"""Catalogs as plain rows."""

import io
import json
import tarfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from manylabel.preprocessing.catalog_config import CatalogConfig
from manylabel.preprocessing.catalogs import catalog_pieces, read_piece


@pytest.fixture(scope="session")
def rows_of():
    """rows_of(path, setting=...): (image, label, confidence, group) of each row, in order."""

    def read(path, **settings):
        config = CatalogConfig(path=str(path), **settings)
        rows = []
        for piece in catalog_pieces(config):
            for table in read_piece(piece, config):
                assert table.column_names == ["image", "label", "confidence", "group"]
                table.validate(full=True)
                rows += [tuple(row.values()) for row in table.to_pylist()]
        return rows

    return read


@pytest.fixture
def write(tmp_path):
    """write(text): a CSV catalog of it."""

    def write(text):
        path = tmp_path / "c.csv"
        path.write_text(text)
        return path

    return write


@pytest.fixture
def write_parquet(tmp_path):
    """write_parquet(name=values, ...): a Parquet catalog of these columns."""

    def write(**columns):
        path = tmp_path / "c.parquet"
        pq.write_table(pa.table(columns), path)
        return path

    return write


@pytest.fixture(scope="session")
def odd_labels():
    return ['a, "quoted" one', "🐢 żółw", "x" * 10_000, "two\nlines", "  spaced "]


@pytest.fixture(scope="session")
def write_tar():
    """write_tar(path, *members): each a name with bytes, text, JSON or a TarInfo."""

    def write(path, *members, format_=tarfile.PAX_FORMAT):
        with tarfile.open(path, "w", format=format_) as tar:
            for name, content in members:
                if isinstance(content, tarfile.TarInfo):
                    content.name = name
                    tar.addfile(content)
                    continue
                if not isinstance(content, str | bytes):
                    content = json.dumps(content)
                if isinstance(content, str):
                    content = content.encode()
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
        return path

    return write
