"""Reading and writing Parquet files, whole or in part, and tables of one file or of many."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from upath import UPath

from manylabel.storage.atomic import replacing
from manylabel.storage.errors import TableError, UnreachableTableError, reason_of
from manylabel.storage.listing import file_sizes
from manylabel.storage.locations import Location
from manylabel.storage.stand_ins import StandIn, read_head, text_instead


def read_table(path: Location, schema: pa.Schema | None = None) -> pa.Table:
    """A whole file.

    Without threads, because those that `pyarrow.parquet.read_table` leaves behind on an open file
    aborted one in seven short processes at its exit (pyarrow 25, measured).

    Args:
        schema: what its columns must be; None for any.

    Raises:
        TableError: it is missing, not Parquet, damaged (pages have checksums), or has others.
        UnreachableTableError: the storage failed.
    """
    with opened_table(path) as file:
        table = file.read(use_threads=False)
        check_text(table)
    if schema is not None and not table.schema.equals(schema):
        raise TableError(f"{path}: expected columns {schema.names}, received {table.schema.names}")
    return table


def count_rows(path: Location) -> int:
    """As the file's footer says; raises as `read_table` does."""
    with opened_table(path) as file:
        return int(file.metadata.num_rows)


@contextmanager
def opened_table(path: Location) -> Iterator[pq.ParquetFile]:
    """A file whose damage, in the block as well, becomes a TableError of one line.

    Raises:
        TableError: it is missing or damaged.
        UnreachableTableError: the storage failed.
    """
    try:
        with UPath(path).open("rb") as file:
            yield pq.ParquetFile(file, page_checksum_verification=True)
    except FileNotFoundError as error:
        raise TableError(f"{path}: no such file; make again what it belongs to") from error
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        reason = reason_of(error)
        if is_of_storage(error):
            raise UnreachableTableError(f"{path}: cannot be read now: {reason}") from error
        if (found := _instead(UPath(path))) is not None:
            raise TableError(f"{path}: not a readable Parquet file, but {found}") from error
        raise TableError(f"{path}: not a readable Parquet file: {reason}") from error


def _instead(path: UPath) -> StandIn | None:
    try:
        return text_instead(read_head(path))
    except OSError:
        return None


def is_of_storage(error: Exception) -> bool:
    """Whether it comes from where a file lies, and says nothing about what is in it.

    Arrow finds damage with plain OSErrors; those of storage have a kind or a number.
    """
    return isinstance(error, OSError) and (type(error) is not OSError or error.errno is not None)


def read_rows_of(path: Location, schema: pa.Schema, column: str, value: int) -> pa.Table:
    """The rows of a file sorted by an integer column in which it has a value.

    Only row groups that may hold them are read.

    Raises:
        TableError: as `read_table`.
    """
    with opened_table(path) as file:
        received = file.schema_arrow
        if not received.equals(schema):
            raise TableError(f"{path}: expected columns {schema.names}, received {received.names}")
        place = schema.get_field_index(column)
        bounds = (file.metadata.row_group(i).column(place) for i in range(file.num_row_groups))
        groups = [i for i, each in enumerate(bounds) if _may_hold(each.statistics, value)]
        table = file.read_row_groups(groups, use_threads=False)
        check_text(table)
    return table.filter(pc.equal(table.column(column), value))


def check_text(table: pa.Table | pa.RecordBatch) -> None:
    """Raises pyarrow.ArrowInvalid for text that is not UTF-8, of which readers do not complain."""
    table.validate(full=True)


def _may_hold(statistics: pq.Statistics | None, value: int) -> bool:
    return (
        statistics is None
        or not statistics.has_min_max
        or (statistics.min <= value <= statistics.max)
    )


def write_table(path: Location, table: pa.Table, row_group_size: int | None = None) -> None:
    """Replaces the file at once; its pages have checksums.

    Args:
        row_group_size: rows that are read together; None: Arrow's choice.
    """
    with replacing(path) as file:
        pq.write_table(table, file, row_group_size=row_group_size, write_page_checksum=True)


def table_parts(path: Location) -> list[UPath]:
    """The files of a table that is one file, or a folder of parts where it is too large for one.

    Of `rejected.parquet`: itself, or `rejected/part-*.parquet`; itself as well where neither is
    there, so that reading it says so.
    """
    whole = UPath(path)
    if whole.is_file():
        return [whole]
    folder = whole.with_suffix("")
    return [folder / name for name in file_sizes(folder, "part-*.parquet")] or [whole]


def remove_table(path: Location) -> None:
    """Deletes a table, in whichever of the two forms it is there."""
    UPath(path).unlink(missing_ok=True)
    for part in table_parts(path):
        part.unlink(missing_ok=True)


def part_path(path: Location, number: int) -> UPath:
    """Where a part of a table lies that is too large for one file."""
    return UPath(path).with_suffix("") / f"part-{number:05d}.parquet"


def count_values(path: Location, column: str) -> Counter[str]:
    """Rows of a table, in one file or in parts, by their value in a column."""
    counts: Counter[str] = Counter()
    for part in table_parts(path):
        with opened_table(part) as file:
            table = file.read([column], use_threads=False)
            check_text(table)
            values = table.column(column)
        for entry in pc.value_counts(values).to_pylist():
            counts[entry["values"]] += entry["counts"]
    return counts
