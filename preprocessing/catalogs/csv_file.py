"""CSV catalogs: a header, if there is one, then rows; UTF-8, quotes as in RFC 4180.

Python's strict reader defines what is CSV and words the errors. Arrow's reader is ten times as
fast and stands in for it in blocks of lines of which both make the same: `_alike` says which.
"""

import csv
from collections.abc import Callable, Iterator
from itertools import chain
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.csv

from manylabel.preprocessing.catalog_config import CatalogConfig
from manylabel.preprocessing.catalogs.columns import Columns, find_columns
from manylabel.preprocessing.catalogs.csv_dialect import (
    MAX_FIELD_BYTES,
    by_number,
    check_is_header,
    find_delimiter,
    without_separator_line,
)
from manylabel.preprocessing.catalogs.kinds import HEAD_BYTES, json_kind
from manylabel.preprocessing.catalogs.rows import tables_of
from manylabel.preprocessing.catalogs.text_file import MAX_LINE_BYTES, open_text, other_kind
from manylabel.preprocessing.errors import PreprocessingError

_STRICT_ROWS = 10_000
"""Python's lists of cells that are held at a time; they take ten times the file's bytes."""

_BYTE_ORDER_MARK = "\ufeff".encode()


def read_csv(config: CatalogConfig, block_bytes: int = MAX_FIELD_BYTES) -> Iterator[pa.Table]:
    """Tables of `rows.raw_table`, about one for each block of lines.

    Args:
        config: Which file and columns.
        block_bytes: Size of a block. Arrow's reader knows no longest cell, but no cell is longer
            than its block: larger blocks would let longer cells pass.

    Raises:
        PreprocessingError: not UTF-8, not CSV, a row of another length than the first, or a column
            that is missing; names file and line.
    """
    with open_text(config, "CSV") as file:
        blocks = cut_at_line_ends(file, config.path, block_bytes)
        first = next(blocks, b"")
        if kind := json_kind(first[:HEAD_BYTES]):
            raise other_kind(config, "CSV", kind)
        start, config = without_separator_line(first, config)
        delimiter = find_delimiter(start, config)
        reader = _Reader(config, delimiter, chain([start], blocks), lines=start is not first)
        for block in reader.blocks:
            tables = reader.read_fast(block)
            yield from reader.read_strictly(block) if tables is None else tables
        if reader.header is None and config.header:
            find_columns(config, [])


def cut_at_line_ends(file: BinaryIO, path: str, block_bytes: int) -> Iterator[bytes]:
    """The bytes of a file in blocks that end where a line ends, without a byte order mark.

    A block is longer than `block_bytes` only when it is a single line. A line ends, as Python has
    it, after `\\n`, `\\r` or `\\r\\n`; one that ends outside of quotes is preferred.
    """
    waiting = file.read(max(block_bytes, len(_BYTE_ORDER_MARK)))
    waiting = waiting.removeprefix(_BYTE_ORDER_MARK)
    while True:
        if end := _last_line_end(waiting):
            yield waiting[:end]
            waiting = waiting[end:]
        if len(waiting) > MAX_LINE_BYTES:
            raise PreprocessingError(
                f"{path}: expected CSV, received a line of more than {MAX_LINE_BYTES} bytes"
            )
        missing = block_bytes - len(waiting)
        more = file.read(missing if missing > 0 else block_bytes)
        if not more:
            break
        waiting += more
    if waiting:
        yield waiting


def _last_line_end(data: bytes) -> int:
    """0 for none. Outside of quotes if they are plain (`_plainly_quoted`) and there is such an end.

    A block that begins or ends inside of a quoted cell has to be read strictly.
    """
    last = end = data.rfind(b"\n") + 1
    outside = data.count(b'"', 0, end) % 2 == 0
    while end and not outside:
        before = data.rfind(b"\n", 0, end - 1) + 1
        outside = data.count(b'"', before, end) % 2 == 1
        end = before
    # A \r that comes last may be half of an end.
    return end or last or data.rfind(b"\r", 0, -1) + 1


class _Reader:
    """What is known of a file while its blocks are read in order.

    Attributes:
        blocks: Those that are still to be read.
        header: Names of the columns, or their numbers; None until it is read.
        lines: Read so far.
    """

    def __init__(
        self, config: CatalogConfig, delimiter: str, blocks: Iterator[bytes], *, lines: int
    ) -> None:
        self.blocks = blocks
        self.header: list[str] | None = None
        self.lines = lines
        self._config = config
        self._delimiter = delimiter
        self._is_edge = np.zeros(256, bool)
        self._is_edge[list(f"{delimiter}\r\n".encode())] = True
        self._columns: Columns | None = None

    def read_fast(self, block: bytes) -> Iterator[pa.Table] | None:
        """The block's rows; None when `read_strictly` is to be asked."""
        if self.header is None or self._columns is None or not _alike(block, self._is_edge):
            return None
        names = [str(number) for number in range(len(self.header))]
        wanted = {str(at): pa.string() for at in self._columns.all()}
        try:
            cells = pyarrow.csv.read_csv(
                pa.BufferReader(block),
                pyarrow.csv.ReadOptions(
                    column_names=names, block_size=len(block) + 1, use_threads=False
                ),
                pyarrow.csv.ParseOptions(delimiter=self._delimiter, newlines_in_values=True),
                pyarrow.csv.ConvertOptions(
                    include_columns=list(wanted), column_types=wanted, check_utf8=False
                ),
            )
        except pa.ArrowInvalid:
            return None  # Which row is too long or too short, and its line, the other one tells.
        self.lines += block.count(b"\n") + block.count(b"\r") - block.count(b"\r\n")
        return self._tables(lambda at: cells.column(str(at)).combine_chunks())

    def read_strictly(self, block: bytes) -> Iterator[pa.Table]:
        """The block's rows, and those of the following blocks as long as a quoted cell is open."""
        between_rows = True

        def lines() -> Iterator[str]:
            nonlocal between_rows, block
            while block:
                for line in block.splitlines(keepends=True):
                    between_rows = False
                    yield line.decode()
                if between_rows:
                    return
                block = next(self.blocks, b"")

        csv.field_size_limit(MAX_FIELD_BYTES)
        reader = csv.reader(lines(), delimiter=self._delimiter, strict=True)
        rows: list[list[str]] = []
        try:
            for cells in reader:
                between_rows = True
                if len(rows) == _STRICT_ROWS:
                    yield from self._tables_of(rows)
                    rows = []
                if not cells:
                    continue
                if self.header is None:
                    self._take_names(cells, reader.line_num)
                    if self._config.header:
                        continue
                self._check_width(cells, reader.line_num)
                rows.append(cells)
        except UnicodeDecodeError as error:
            raise self._error(
                reader.line_num + 1,
                f"expected UTF-8, received byte {_spelled(error.object[error.start])}; save the "
                "file as CSV UTF-8, or convert it from what it is, e.g. with iconv -f WINDOWS-1252 "
                "-t UTF-8 OLD > NEW",
            ) from error
        except csv.Error as error:
            raise self._error(reader.line_num, f"expected CSV, received {error}") from error
        self.lines += reader.line_num
        if rows:
            yield from self._tables_of(rows)

    def _take_names(self, cells: list[str], line: int) -> None:
        """Of the columns, from the first row or, without a header, by number."""
        if self._config.header:
            check_is_header(cells, self._config, self.lines + line)
        else:
            cells = [str(number) for number in range(len(cells))]
            self._config = by_number(self._config, cells)
        self._columns = find_columns(self._config, cells)
        self.header = cells

    def _check_width(self, cells: list[str], line: int) -> None:
        assert self.header is not None
        if len(cells) != len(self.header):
            raise self._error(
                line,
                f"expected {len(self.header)} cells as in the "
                f"{'header' if self._config.header else 'first row'}, received "
                f"{len(cells)}; put quotes around cells with {self._delimiter!r}",
            )

    def _tables_of(self, rows: list[list[str]]) -> Iterator[pa.Table]:
        return self._tables(lambda at: pa.array([row[at] for row in rows], pa.string()))

    def _tables(self, cells: Callable[[int], pa.Array]) -> Iterator[pa.Table]:
        assert self._columns is not None
        return tables_of(self._columns, cells, self._config)

    def _error(self, line: int, message: str) -> PreprocessingError:
        return PreprocessingError(f"{self._config.path}: line {self.lines + line}: {message}")


def _alike(block: bytes, is_edge: np.ndarray) -> bool:
    """Whether Arrow's reader makes the same of a block as Python's does, or refuses it."""
    return (
        len(block) <= MAX_FIELD_BYTES
        and not block.startswith(_BYTE_ORDER_MARK)  # Arrow drops one wherever it begins to read.
        and (b'"' not in block or _plainly_quoted(block, is_edge))
        and _is_utf8(block)
    )


def _plainly_quoted(block: bytes, is_edge: np.ndarray) -> bool:
    """Whether quotes stand around whole cells only, and doubled inside of them.

    Then they alternate between opening and closing, a doubled one being both: it closes and opens
    again. Any other quote is an error to Python, or means itself.

    Args:
        block: Whole lines.
        is_edge: Of each byte whether cells may begin after it and end before it.
    """
    data = np.frombuffer(b"\n%b\n" % block, np.uint8)  # Its ends are edges of cells too.
    quotes = np.flatnonzero(data == ord('"'))
    if len(quotes) % 2:
        return False
    opening, closing = quotes[0::2], quotes[1::2]
    doubled = opening[1:] == closing[:-1] + 1
    opens, closes = is_edge[data[opening - 1]], is_edge[data[closing + 1]]
    opens[1:] |= doubled
    closes[:-1] |= doubled
    return bool(opens.all() and closes.all())


def _is_utf8(block: bytes) -> bool:
    """Also of cells in columns that nobody asks for."""
    try:
        block.decode()
    except UnicodeDecodeError:
        return False
    return True


def _spelled(byte: int) -> str:
    """With what it is in the encoding that Excel writes without being asked, in the West."""
    letter = bytes([byte]).decode("cp1252", "ignore")
    return f"0x{byte:02x}" + (
        f" ({letter} in Windows-1252)" if letter.isprintable() and letter else ""
    )
