"""Reading and writing small Parquet files."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from upath import UPath

from manylabel.storage.atomic import replacing
from manylabel.storage.errors import TableError
from manylabel.storage.locations import Location


def read_table(path: Location, schema: pa.Schema | None = None) -> pa.Table:
    """A whole file.

    Without threads, because those that `pyarrow.parquet.read_table` leaves behind on an open file
    aborted one in seven short processes at its exit (pyarrow 25, measured).

    Args:
        schema: what its columns must be; None for any.

    Raises:
        TableError: it is missing, not Parquet, damaged (pages have checksums), or has others.
    """
    with opened_table(path) as file:
        table = file.read(use_threads=False)
    if schema is not None and not table.schema.equals(schema):
        raise TableError(f"{path}: expected columns {schema.names}, received {table.schema.names}")
    return table


def count_rows(path: Location) -> int:
    """As the file's footer says; raises as `read_table` does."""
    with opened_table(path) as file:
        return int(file.metadata.num_rows)


@contextmanager
def opened_table(path: Location) -> Iterator[pq.ParquetFile]:
    """A file whose damage, in the block as well, becomes a TableError of one line."""
    try:
        with UPath(path).open("rb") as file:
            yield pq.ParquetFile(file, page_checksum_verification=True)
    except FileNotFoundError as error:
        raise TableError(f"{path}: no such file; make again what it belongs to") from error
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())  # Arrow's may have several lines.
        raise TableError(f"{path}: not a readable Parquet file: {reason}") from error


def write_table(path: Location, table: pa.Table) -> None:
    """Replaces the file at once; its pages have checksums."""
    with replacing(path) as file:
        pq.write_table(table, file, write_page_checksum=True)


def write_rows(path: Location, rows: Iterable[Any], schema: pa.Schema) -> None:
    """Dataclasses, a column for each field of the schema's name."""
    write_table(path, pa.Table.from_pylist([asdict(row) for row in rows], schema=schema))
