"""Long Parquet catalogs: the same columns as CSV, read some row groups at a time."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from manylabel.preprocessing.catalogs.columns import Columns, find_columns
from manylabel.preprocessing.catalogs.location import open_catalog
from manylabel.preprocessing.catalogs.rows import BATCH_ROWS, tables_of
from manylabel.preprocessing.config import CatalogConfig
from manylabel.preprocessing.errors import PreprocessingError
from manylabel.storage.tables import is_of_storage

READ_ROWS = 1 << 12
"""Rows that are decoded together. Long texts that repeat are short in the file, but not here."""

READ_CELLS = 1 << 20
"""Cells of a wide table that are decoded together."""

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
    with _open(config) as (file, columns):
        names = file.schema_arrow.names
        kinds = _kinds(config, columns, file.schema_arrow)
        for batch in file.iter_batches(
            _batch_rows(columns),
            row_groups=list(row_groups),
            columns=[names[at] for at in columns.all()],
            use_threads=False,
        ):
            yield from tables_of(columns, _Cells(batch, names, kinds, config.path), config)


def _batch_rows(columns: Columns) -> int:
    """Fewer where each has thousands of cells."""
    return max(1, min(READ_ROWS, READ_CELLS // max(1, len(columns.labels))))


@contextmanager
def _open(config: CatalogConfig) -> Iterator[tuple[pq.ParquetFile, Columns]]:
    """The file and its columns; what Arrow says of the file becomes one line."""
    try:
        with open_catalog(config) as file:
            table = pq.ParquetFile(file, buffer_size=BUFFER_BYTES, page_checksum_verification=True)
            schema = table.schema_arrow
            several = any(
                _is_list(each.type) for each in schema if each.name == config.label_column
            )
            columns = find_columns(config, schema.names, several=several)
            _kinds(config, columns, schema)
            yield table, columns
    except (pa.ArrowException, OSError) as error:
        if is_of_storage(error):
            raise
        reason = " ".join(str(error).split())  # Arrow's may have several lines.
        raise PreprocessingError(f"{config.path}: expected Parquet: {reason}") from error


@dataclass(frozen=True)
class _Cells:
    """The cells of a column as `rows.tables_of` takes them."""

    batch: pa.RecordBatch
    names: Sequence[str]
    kinds: Mapping[int, pa.DataType]
    path: str

    def __call__(self, at: int) -> pa.Array:
        name, kind = self.names[at], self.kinds[at]
        # Integers past 2**53 are rounded, and rejected later as any above 1 are.
        cells = self.batch.column(name).cast(kind, safe=False)
        if pa.types.is_floating(kind):
            return cells
        try:
            cells.validate(full=True)  # Arrow itself never looks whether a text is UTF-8.
        except pa.ArrowInvalid as error:
            raise PreprocessingError(
                f"{self.path}: column {name!r}: expected UTF-8 text: {error}"
            ) from error
        return cells


def _kinds(config: CatalogConfig, columns: Columns, schema: pa.Schema) -> dict[int, pa.DataType]:
    """As what the cells of each column are read."""
    texts, numbers = pa.string(), pa.float64()
    kinds = {}
    for at in (columns.image, columns.group, columns.split):
        if at is not None:
            kinds[at] = _kind(config, schema.field(at), {"text": (_is_text, texts)})
    if columns.label is not None:
        lists = pa.list_(texts)
        kinds[columns.label] = _kind(
            config,
            schema.field(columns.label),
            {"text": (_is_text, texts), "lists of text": (_is_list_of_names, lists)},
        )
    if columns.confidence is not None:
        allowed = {"numbers": (_is_number, numbers)}
        if columns.label is not None and kinds[columns.label] != texts:
            allowed["lists of numbers"] = (_is_list_of_numbers, pa.list_(numbers))
        elif config.label_separator is not None:
            allowed["text"] = (_is_text, texts)
        kinds[columns.confidence] = _kind(config, schema.field(columns.confidence), allowed)
    words = any(_is_text(schema.field(at).type) for at in columns.labels.values())
    for name, at in columns.labels.items():
        allowed = {
            "numbers, true and false": (_is_number_or_bool, numbers),
            "text": (_is_text, texts),
        }
        hint = f"; leave it out by '!{name}' in {config.SECTION}.label_columns"
        kind = _kind(config, schema.field(at), allowed, hint)
        kinds[at] = texts if words else kind
    return kinds


def _kind(
    config: CatalogConfig,
    column: pa.Field,
    allowed: Mapping[str, tuple[Callable[[pa.DataType], bool], pa.DataType]],
    hint: str = "",
) -> pa.DataType:
    for matches, kind in allowed.values():
        if matches(column.type):
            return kind
    raise PreprocessingError(
        f"{config.path}: column {column.name!r}: expected {' or '.join(allowed)}, received "
        f"{column.type}{hint}"
    )


def _is_text(type_: pa.DataType) -> bool:
    if pa.types.is_dictionary(type_):
        type_ = type_.value_type
    return type_ in (pa.string(), pa.large_string(), pa.string_view())


def _is_number(type_: pa.DataType) -> bool:
    return pa.types.is_floating(type_) or pa.types.is_integer(type_)


def _is_number_or_bool(type_: pa.DataType) -> bool:
    return _is_number(type_) or pa.types.is_boolean(type_)


def _is_list(type_: pa.DataType) -> bool:
    return (
        pa.types.is_list(type_)
        or pa.types.is_large_list(type_)
        or pa.types.is_fixed_size_list(type_)
    )


def _is_list_of_names(type_: pa.DataType) -> bool:
    """Integers are names too, as of classes."""
    return _is_list(type_) and (_is_text(type_.value_type) or pa.types.is_integer(type_.value_type))


def _is_list_of_numbers(type_: pa.DataType) -> bool:
    return _is_list(type_) and _is_number(type_.value_type)
