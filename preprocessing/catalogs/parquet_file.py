"""Long Parquet catalogs: the same columns as CSV, read some row groups at a time."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from manylabel.preprocessing.catalog_config import CatalogConfig, LabelCells
from manylabel.preprocessing.catalogs.arrow_types import (
    as_kind,
    is_list_of_names,
    is_list_of_numbers,
    is_name,
    is_number,
    is_number_or_bool,
    is_text,
)
from manylabel.preprocessing.catalogs.columns import Columns, find_columns
from manylabel.preprocessing.catalogs.kinds import HEAD_BYTES, kind_of
from manylabel.preprocessing.catalogs.location import open_catalog
from manylabel.preprocessing.catalogs.parts import columns_of_folders
from manylabel.preprocessing.catalogs.rows import BATCH_ROWS, tables_of
from manylabel.preprocessing.catalogs.text_file import other_kind
from manylabel.preprocessing.errors import PreprocessingError
from manylabel.storage.errors import reason_of
from manylabel.storage.tables import is_of_storage

READ_ROWS = 1 << 12
"""Rows that are decoded together. Long texts that repeat are short in the file, but not here."""

READ_CELLS = 2 << 20
"""Cells of a wide table that are decoded together."""

BUFFER_BYTES = 1 << 20
"""Read from the file at once; else Arrow reads whole columns of a row group."""


_MAGIC = b"PAR1"


def row_group_ranges(config: CatalogConfig, below: str = "") -> list[range]:
    """Row groups that are worth to be read together: opening a file reads all of its footer.

    Args:
        config: Of the one file.
        below: Its path below the folder of the table, whose names may be columns.
    """
    ranges = []
    with _open(config, below) as (file, _):
        start = rows = 0
        for group in range(file.metadata.num_row_groups):
            rows += file.metadata.row_group(group).num_rows
            if rows >= BATCH_ROWS:
                ranges.append(range(start, group + 1))
                start, rows = group + 1, 0
        if start < file.metadata.num_row_groups:
            ranges.append(range(start, file.metadata.num_row_groups))
    return ranges


def read_parquet(
    config: CatalogConfig, row_groups: Sequence[int], below: str = ""
) -> Iterator[pa.Table]:
    """Tables of `rows.raw_table`.

    Args:
        config: Of the one file.
        row_groups: Which of its row groups.
        below: As of `row_group_ranges`.

    Raises:
        PreprocessingError: another kind of file, a damaged one, missing columns, wrong types, or
            text that is not UTF-8.
    """
    with _open(config, below) as (file, columns):
        schema = _schema(file, config, below)
        kinds = _kinds(config, columns, schema)
        names, stored = schema.names, len(file.schema_arrow)
        for batch in file.iter_batches(
            _batch_rows(columns),
            row_groups=list(row_groups),
            columns=[names[at] for at in columns.all() if at < stored],
            use_threads=False,
        ):
            cells = _Cells(batch, names, stored, kinds, config.path, below)
            yield from tables_of(columns, cells, config)


def _batch_rows(columns: Columns) -> int:
    """Fewer where each has thousands of cells."""
    return max(1, min(READ_ROWS, READ_CELLS // max(1, len(columns.labels))))


@contextmanager
def _open(config: CatalogConfig, below: str) -> Iterator[tuple[pq.ParquetFile, Columns]]:
    """The file and its columns; what Arrow says of the file becomes one line."""
    try:
        with open_catalog(config) as file:
            _check_kind(file.read(HEAD_BYTES), config)
            file.seek(0)
            table = pq.ParquetFile(file, buffer_size=BUFFER_BYTES, page_checksum_verification=True)
            schema = _schema(table, config, below)
            names = schema.names
            columns = find_columns(config, names)
            _check_once(config, [names[at] for at in columns.all()])
            _kinds(config, columns, schema)
            yield table, columns
    except (pa.ArrowException, OSError) as error:
        if is_of_storage(error):
            raise
        reason = reason_of(error)
        raise PreprocessingError(f"{config.path}: expected Parquet: {reason}") from error


def _check_once(config: CatalogConfig, names: Sequence[str]) -> None:
    """Arrow finds columns by their names."""
    for name, count in Counter(names).items():
        if count > 1:
            raise PreprocessingError(
                f"{config.path}: expected one column {name!r}, received {count}; rename all but one"
            )


def _schema(file: pq.ParquetFile, config: CatalogConfig, below: str) -> pa.Schema:
    """Of the columns in the file, and after them of those that settings name and folders give."""
    schema = file.schema_arrow
    wanted = {config.image_column, config.label_column, config.group_column, config.split_column}
    for name in columns_of_folders(below):
        if name in wanted and name not in schema.names:
            schema = schema.append(pa.field(name, pa.string()))
    return schema


def _check_kind(head: bytes, config: CatalogConfig) -> None:
    kind = None if head.startswith(_MAGIC) else kind_of(head)
    if kind is not None:
        raise other_kind(config, "Parquet", kind)


@dataclass(frozen=True)
class _Cells:
    """The cells of a column as `rows.tables_of` takes them; columns from `stored` on are those of
    folders."""

    batch: pa.RecordBatch
    names: Sequence[str]
    stored: int
    kinds: Mapping[int, pa.DataType]
    path: str
    below: str

    def __call__(self, at: int) -> pa.Array:
        name, kind = self.names[at], self.kinds[at]
        if at >= self.stored:
            value = pa.scalar(columns_of_folders(self.below)[name], kind)
            return pa.repeat(value, self.batch.num_rows)
        # Integers past 2**53 are rounded, and rejected later as any above 1 are.
        cells = as_kind(self.batch.column(name), kind)
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
    for at, matches in (
        (columns.image, is_text),
        (columns.group, is_name),
        (columns.split, is_name),
    ):
        if at is not None:
            kinds[at] = _kind(config, schema.field(at), {"text": (matches, texts)})
    if columns.label is not None:
        lists = pa.list_(texts)
        kinds[columns.label] = _kind(
            config,
            schema.field(columns.label),
            {"text": (is_name, texts), "lists of text": (is_list_of_names, lists)},
        )
    if columns.confidence is not None:
        allowed = {"numbers": (is_number, numbers)}
        if columns.label is not None and kinds[columns.label] != texts:
            allowed["lists of numbers"] = (is_list_of_numbers, pa.list_(numbers))
        elif config.label_separator is not None:
            allowed["text"] = (is_text, texts)
        kinds[columns.confidence] = _kind(config, schema.field(columns.confidence), allowed)
    words = any(is_text(schema.field(at).type) for at in columns.labels.values())
    allowed = {"numbers, true and false": (is_number_or_bool, numbers), "text": (is_text, texts)}
    if config.label_cells is LabelCells.NAMES:
        allowed, words = {"text": (is_name, texts)}, True
    for at in columns.labels.values():
        hint = f"; leave it out by '!{schema.field(at).name}' in {config.SECTION}.label_columns"
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
