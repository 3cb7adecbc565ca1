"""Long Parquet catalogs: the same columns as CSV, read some row groups at a time."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pyarrow as pa
import pyarrow.parquet as pq

from manylabel.preprocessing.catalogs.location import open_catalog
from manylabel.preprocessing.catalogs.rows import BATCH_ROWS, find_columns, of_split, raw_table
from manylabel.preprocessing.config import CatalogConfig
from manylabel.preprocessing.errors import PreprocessingError
from manylabel.storage.tables import is_of_storage

READ_ROWS = 1 << 12
"""Rows that are decoded together. Long texts that repeat are short in the file, but not here."""

BUFFER_BYTES = 1 << 20
"""Read from the file at once; else Arrow reads whole columns of a row group."""


def row_group_ranges(config: CatalogConfig) -> list[range]:
    """Row groups that are worth to be read together: opening a file reads all of its footer."""
    ranges = []
    with _open(config) as (file, _):
        start = rows = 0
        for group in range(file.metadata.num_row_groups):
            rows += file.metadata.row_group(group).num_rows
            if rows >= BATCH_ROWS:
                ranges.append(range(start, group + 1))
                start, rows = group + 1, 0
        if start < file.metadata.num_row_groups:
            ranges.append(range(start, file.metadata.num_row_groups))
    return ranges


def read_parquet(config: CatalogConfig, row_groups: Sequence[int]) -> Iterator[pa.Table]:
    """Tables of `rows.raw_table`.

    Raises:
        PreprocessingError: another kind of file, a damaged one, missing columns, wrong types, or
            text that is not UTF-8.
    """
    with _open(config) as (file, names):
        image, label, confidence, group, split = names
        for batch in file.iter_batches(
            READ_ROWS,
            row_groups=list(row_groups),
            columns=[name for name in names if name is not None],
            use_threads=False,
        ):
            rows = raw_table(
                _text(batch, image, config.path),
                _text(batch, label, config.path),
                _numbers(batch, confidence),
                _text(batch, group, config.path),
            )
            yield of_split(rows, _text(batch, split, config.path), config)


@contextmanager
def _open(config: CatalogConfig) -> Iterator[tuple[pq.ParquetFile, list[str | None]]]:
    """The file and its columns; what Arrow says of the file becomes one line."""
    try:
        with open_catalog(config) as file:
            table = pq.ParquetFile(file, buffer_size=BUFFER_BYTES, page_checksum_verification=True)
            listed = table.schema_arrow.names
            names = [None if at is None else listed[at] for at in find_columns(config, listed)]
            _check_types(config, table.schema_arrow, names)
            yield table, names
    except (pa.ArrowException, OSError) as error:
        if is_of_storage(error):
            raise
        reason = " ".join(str(error).split())  # Arrow's may have several lines.
        raise PreprocessingError(f"{config.path}: expected Parquet: {reason}") from error


def _text(batch: pa.RecordBatch, name: str | None, path: str) -> pa.Array | None:
    """Of whatever kind of text the column is; Arrow itself never looks whether it is UTF-8."""
    if name is None:
        return None
    text = batch.column(name).cast(pa.string())
    try:
        text.validate(full=True)
    except pa.ArrowInvalid as error:
        raise PreprocessingError(
            f"{path}: column {name!r}: expected UTF-8 text: {error}"
        ) from error
    return text


def _numbers(batch: pa.RecordBatch, name: str | None) -> pa.Array | None:
    """Integers past 2**53 are rounded, and rejected later as any above 1 are."""
    return None if name is None else batch.column(name).cast(pa.float64(), safe=False)


def _check_types(config: CatalogConfig, schema: pa.Schema, names: list[str | None]) -> None:
    image, label, confidence, group, split = names
    for name, expected, matches in (
        (image, "text", _is_text),
        (label, "text", _is_text),
        (confidence, "numbers", _is_number),
        (group, "text", _is_text),
        (split, "text", _is_text),
    ):
        if name is not None and not matches(schema.field(name).type):
            raise PreprocessingError(
                f"{config.path}: column {name!r}: expected {expected}, received "
                f"{schema.field(name).type}"
            )


def _is_text(type_: pa.DataType) -> bool:
    if pa.types.is_dictionary(type_):
        type_ = type_.value_type
    return type_ in (pa.string(), pa.large_string(), pa.string_view())


def _is_number(type_: pa.DataType) -> bool:
    return pa.types.is_floating(type_) or pa.types.is_integer(type_)
