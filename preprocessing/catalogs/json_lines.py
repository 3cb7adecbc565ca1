"""JSON lines: an object a line, whose keys are the columns; UTF-8."""

import codecs
import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, BinaryIO

import pyarrow as pa

from manylabel.preprocessing.catalog_config import CatalogConfig
from manylabel.preprocessing.catalogs.columns import Columns, find_columns
from manylabel.preprocessing.catalogs.rows import tables_of
from manylabel.preprocessing.catalogs.text_file import MAX_LINE_BYTES, open_text
from manylabel.preprocessing.errors import PreprocessingError

BLOCK_BYTES = 1 << 20
"""Of lines whose objects are held at a time; they take ten times the file's bytes."""

MOST_KEYS = 100_000
"""Of all objects together; more are data in the place of names."""

_SHOWN = 200
"""Characters of a line or of the keys of an object in an error."""

_FLAT = "write text, numbers or lists of them there, e.g. with jq -c"

Row = tuple[int, dict[str, Any]]
"""The line of an object, from 1 on, and the object."""


def read_json_lines(config: CatalogConfig, block_bytes: int = BLOCK_BYTES) -> Iterator[pa.Table]:
    """Tables of `rows.raw_table`, one for each block of lines.

    Text is text, a number is text as it is spelled, true and false are those words; null, and a key
    that an object lacks, are nothing. A list of them is a list.

    Raises:
        PreprocessingError: not UTF-8, not an object a line, a key that no object has, or an object
            for a value; names file and line.
    """
    columns, names = _find_columns(config, block_bytes)
    for rows in _blocks(config, block_bytes):
        yield from tables_of(columns, partial(_cells, rows, names, columns, config), config)


def _find_columns(config: CatalogConfig, block_bytes: int) -> tuple[Columns, list[str]]:
    """Where the columns are among all keys, and those: objects may lack any.

    Reads no further than to where all are found, but to the end for `label_columns` and for a
    confidence that nobody asked for, which may come anywhere.
    """
    names: dict[str, None] = {}
    inside: dict[str, str] = {}  # Keys of objects within objects.
    for rows in _blocks(config, block_bytes):
        for line, values in rows:
            if values.keys() <= names.keys():
                continue
            names.update(dict.fromkeys(values))
            if len(names) > MOST_KEYS:
                raise _error(config, line, f"expected at most {MOST_KEYS:,} different keys")
            for name, value in values.items():
                if isinstance(value, dict):
                    inside |= dict.fromkeys(value, name)
        if not config.label_columns and config.confidence_column in (None, *names):
            with suppress(PreprocessingError):  # There may be more keys.
                return find_columns(config, [*names]), [*names]
    try:
        return find_columns(config, [*names]), [*names]
    except PreprocessingError as error:
        for wanted in (config.image_column, config.label_column, config.confidence_column):
            if wanted in inside and wanted not in names:
                raise PreprocessingError(
                    f"{error}; there is one inside of {inside[wanted]!r}, where keys are not "
                    f"looked for: {_FLAT}"
                ) from error
        raise


def _blocks(config: CatalogConfig, block_bytes: int) -> Iterator[list[Row]]:
    """The objects of the file, those of some lines at a time."""
    with open_text(config, "JSON lines") as file:
        rows: list[Row] = []
        size = 0
        for number, line in _lines(file, config):
            values = _parsed(line, number, config)
            if values is None:
                continue
            rows.append((number, values))
            size += len(line)
            if size >= block_bytes:
                yield rows
                rows, size = [], 0
        if rows:
            yield rows


def _lines(file: BinaryIO, config: CatalogConfig) -> Iterator[tuple[int, bytes]]:
    number = 0
    while line := file.readline(MAX_LINE_BYTES + 1):
        number += 1
        if len(line) > MAX_LINE_BYTES:
            raise _error(config, number, f"expected at most {MAX_LINE_BYTES} bytes, received more")
        yield number, line.removeprefix(codecs.BOM_UTF8) if number == 1 else line


def _parsed(line: bytes, number: int, config: CatalogConfig) -> dict[str, Any] | None:
    """None for a line without anything."""
    try:
        text = line.decode().strip()
        if not text:
            return None
        values = json.loads(text, parse_int=str, parse_float=str, parse_constant=str)
    except UnicodeDecodeError as error:
        raise _error(
            config,
            number,
            f"expected UTF-8, received byte 0x{line[error.start]:02x}; convert the file, e.g. with "
            "iconv -f WINDOWS-1252 -t UTF-8 OLD > NEW",
        ) from error
    except json.JSONDecodeError as error:
        raise _not_an_object(config, number, text, f" ({error.msg})") from error
    except RecursionError as error:
        raise _not_an_object(config, number, text, " (it is nested too deep)") from error
    if not isinstance(values, dict):
        raise _not_an_object(config, number, text, "")
    return values


def _cells(
    rows: Sequence[Row], names: Sequence[str], columns: Columns, config: CatalogConfig, at: int
) -> pa.Array:
    """Text, or lists of text if there is a list among labels or confidences; null for nothing."""
    name = names[at]
    values = [_cell(values.get(name), line, name, config) for line, values in rows]
    type_ = pa.string()
    if any(map(_is_list, values)):
        if at not in (columns.label, columns.confidence):
            raise _error(
                config,
                next(
                    line for (line, _), value in zip(rows, values, strict=True) if _is_list(value)
                ),
                f"{name!r}: expected text or a number, received a list; write one of them there",
            )
        values = [[value] if isinstance(value, str) else value for value in values]
        type_ = pa.list_(type_)
    try:
        return pa.array(values, type_)
    except UnicodeEncodeError as error:
        odd = next(line for (line, _), value in zip(rows, values, strict=True) if _is_odd(value))
        raise _error(
            config, odd, f"{name!r}: expected text, received half of a surrogate pair"
        ) from error


def _cell(value: Any, line: int, name: str, config: CatalogConfig) -> Any:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        parts = [_cell(part, line, name, config) for part in value]
        if not any(isinstance(part, list) for part in parts):
            return parts
        received = "a list of lists"
    else:
        received = f"an object with the keys {str([*value])[:_SHOWN]}"
    raise _error(
        config,
        line,
        f"{name!r}: expected text, a number or a list of them, received {received}; {_FLAT}",
    )


def _is_list(value: Any) -> bool:
    return isinstance(value, list)


def _is_odd(value: Any) -> bool:
    """Whether there is text that is none in any encoding."""
    parts = value if isinstance(value, list) else [value]
    return any(part is not None and part != part.encode(errors="ignore").decode() for part in parts)


def _not_an_object(config: CatalogConfig, line: int, text: str, reason: str) -> PreprocessingError:
    return _error(
        config,
        line,
        f"expected a JSON object on a line of its own, received {text[:_SHOWN]!r}{reason}; write "
        "each object on one line, e.g. with jq -c",
    )


def _error(config: CatalogConfig, line: int, message: str) -> PreprocessingError:
    return PreprocessingError(f"{config.path}: line {line}: {message}")
