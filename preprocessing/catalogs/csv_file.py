"""Long CSV catalogs: a header, then one row per pair of image and label; UTF-8, RFC 4180 quotes."""

import csv
import io
from collections.abc import Iterator

from upath import UPath

from manylabel.preprocessing.catalogs.rows import CatalogRow, find_columns
from manylabel.preprocessing.config import CatalogConfig
from manylabel.preprocessing.errors import PreprocessingError

MAX_FIELD_BYTES = 1 << 20
"""Longest cell. Past it a forgotten quote is likelier than a label."""


def read_csv(config: CatalogConfig) -> Iterator[CatalogRow]:
    """Raises PreprocessingError, naming file and line, for what is not such a file."""
    lines = read_csv_lines(config.path)
    _, header = next(lines, (1, []))
    columns = find_columns(config, header)
    for _, line in lines:
        yield CatalogRow(
            image=line[columns.image],
            label=line[columns.label] or None,
            confidence=1.0 if columns.confidence is None else line[columns.confidence],
            group=None if columns.group is None else line[columns.group] or None,
        )


def read_csv_lines(path: str) -> Iterator[tuple[int, list[str]]]:
    """Line number and cells of each row, header included, all as long as the header.

    Raises:
        PreprocessingError: not UTF-8, not CSV, or a row of another length.
    """
    csv.field_size_limit(MAX_FIELD_BYTES)
    with UPath(path).open("rb") as file:
        # "utf-8-sig" drops the mark that spreadsheets put in front.
        reader = csv.reader(io.TextIOWrapper(file, encoding="utf-8-sig", newline=""), strict=True)
        width = None
        try:
            for cells in reader:
                if not cells:
                    continue
                width = width or len(cells)
                if len(cells) != width:
                    raise PreprocessingError(
                        f"{path}: line {reader.line_num}: expected {width} cells as in the "
                        f"header, received {len(cells)}; put quotes around cells with commas"
                    )
                yield reader.line_num, cells
        except UnicodeDecodeError as error:
            raise PreprocessingError(
                f"{path}: after line {reader.line_num}: expected UTF-8, received byte "
                f"0x{error.object[error.start]:02x}; convert the file, e.g. with iconv -t UTF-8"
            ) from error
        except csv.Error as error:
            raise PreprocessingError(
                f"{path}: line {reader.line_num}: expected CSV, received {error}"
            ) from error
