"""Reading and writing small Parquet files."""

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from upath import UPath

from manylabel.storage.atomic import replacing


def read_table(path: UPath) -> pa.Table:
    """A whole file.

    Without threads, because those that `pyarrow.parquet.read_table` leaves behind on an open file
    aborted one in seven short processes at its exit (pyarrow 25, measured).

    Raises:
        pyarrow.ArrowException, OSError: not Parquet, or a page does not match its checksum.
    """
    with path.open("rb") as file:
        return pq.ParquetFile(file, page_checksum_verification=True).read(use_threads=False)


def count_rows(path: UPath) -> int:
    """As the file's footer says; raises as `read_table` does."""
    with path.open("rb") as file:
        return int(pq.ParquetFile(file).metadata.num_rows)


def write_table(path: UPath, table: pa.Table) -> None:
    """Replaces the file at once; its pages have checksums."""
    with replacing(path) as file:
        pq.write_table(table, file, write_page_checksum=True)


def write_rows(path: UPath, rows: Iterable[Any], schema: pa.Schema) -> None:
    """Dataclasses, a column for each field of the schema's name."""
    write_table(path, pa.Table.from_pylist([asdict(row) for row in rows], schema=schema))
