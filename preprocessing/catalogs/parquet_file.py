"""Long Parquet catalogs: the same columns as CSV, read one batch of rows at a time."""

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.parquet as pq
from upath import UPath

from manylabel.preprocessing.catalogs.rows import CatalogRow, find_columns
from manylabel.preprocessing.config import CatalogConfig
from manylabel.preprocessing.errors import PreprocessingError


def read_parquet(config: CatalogConfig) -> Iterator[CatalogRow]:
    """Raises PreprocessingError for another kind of file, missing columns or wrong types."""
    try:
        with UPath(config.path).open("rb") as file:
            table = pq.ParquetFile(file)
            listed = table.schema_arrow.names
            names = [None if at is None else listed[at] for at in find_columns(config, listed)]
            _check_types(config, table.schema_arrow, names)
            yield from _rows(table, names)
    except UnicodeDecodeError as error:
        raise PreprocessingError(f"{config.path}: expected UTF-8 text: {error}") from error
    except (pa.ArrowException, OSError) as error:
        reason = " ".join(str(error).split())  # Arrow's may have several lines.
        raise PreprocessingError(f"{config.path}: expected Parquet: {reason}") from error


def _rows(table: pq.ParquetFile, names: list[str | None]) -> Iterator[CatalogRow]:
    for batch in table.iter_batches(columns=[name for name in names if name is not None]):
        cells = [
            [None] * batch.num_rows if name is None else batch.column(name).to_pylist()
            for name in names
        ]
        for image, label, confidence, group in zip(*cells, strict=True):
            yield CatalogRow(
                image=image or "",
                label=label or None,
                confidence=_confidence(confidence, listed=names[2] is not None),
                group=group or None,
            )


def _check_types(config: CatalogConfig, schema: pa.Schema, names: list[str | None]) -> None:
    image, label, confidence, group = names
    for name, expected, matches in (
        (image, "text", _is_text),
        (label, "text", _is_text),
        (confidence, "numbers", _is_number),
        (group, "text", _is_text),
    ):
        if name is not None and not matches(schema.field(name).type):
            raise PreprocessingError(
                f"{config.path}: column {name!r}: expected {expected}, received "
                f"{schema.field(name).type}"
            )


def _is_text(type_: pa.DataType) -> bool:
    if pa.types.is_dictionary(type_):
        type_ = type_.value_type
    return pa.types.is_string(type_) or pa.types.is_large_string(type_)


def _is_number(type_: pa.DataType) -> bool:
    return pa.types.is_floating(type_) or pa.types.is_integer(type_)


def _confidence(value: float | None, *, listed: bool) -> str | float:
    """A null in a listed column is the empty cell of a CSV: not a number."""
    if not listed:
        return 1.0
    return "" if value is None else float(value)
