"""How a CSV is written: what stands between its cells, and whether its first row names them."""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import islice

from manylabel.preprocessing.catalog_config import CatalogConfig
from manylabel.preprocessing.errors import PreprocessingError

_DELIMITERS = (",", ";", "\t", "|")
"""In this order where nothing speaks for another."""

_DELIMITERS_WITHOUT_NAMES = ("\t", ",", ";", "|")
"""Text between tabs may hold commas; hardly any cell holds a tab."""

_ROWS_LOOKED_AT = 20

_SEPARATOR_LINE = re.compile(rb'"?sep=([^\r\n"])"?(?:\r\n|\n|\r)')
"""What Excel takes for a note on the delimiter, and other programs write for it."""

MAX_FIELD_BYTES = 1 << 20
"""Longest cell. Past it a forgotten quote is likelier than a label."""

MAX_SHOWN = 200
"""Characters of a cell in an error."""

_IMAGE_NAME = re.compile(r"\.(jpe?g|png|webp|gif|bmp|tiff?)$", re.IGNORECASE)


def without_separator_line(start: bytes, config: CatalogConfig) -> tuple[bytes, CatalogConfig]:
    """The start of a file without Excel's `sep=;`, and the settings with what it says."""
    line = _SEPARATOR_LINE.match(start)
    if line is None:
        return start, config
    delimiter = config.delimiter or line.group(1).decode("ascii", "replace")
    return start[line.end() :], config.model_copy(update={"delimiter": delimiter})


def find_delimiter(start: bytes, config: CatalogConfig) -> str:
    """As the settings say, and else as the first rows do.

    Args:
        start: Of the file, whole lines.
        config: The settings.
    """
    if config.delimiter is not None:
        return config.delimiter
    text = start.decode(errors="replace")
    return _by_names(text, config) if config.header else _by_rows(text)


def _by_names(text: str, config: CatalogConfig) -> str:
    """Labels in cells may be joined by what is no delimiter, so names of columns count most."""
    headers = {delimiter: next(_rows(text, delimiter), []) for delimiter in _DELIMITERS}
    named = [delimiter for delimiter in _DELIMITERS if config.image_column in headers[delimiter]]
    return max(named or _DELIMITERS, key=lambda delimiter: len(headers[delimiter]))


def _by_rows(text: str) -> str:
    """The first one that cuts all rows into as many cells, if they are several."""
    widths = {
        delimiter: [len(row) for row in islice(_rows(text, delimiter), _ROWS_LOOKED_AT)]
        for delimiter in _DELIMITERS_WITHOUT_NAMES
    }
    even = [delimiter for delimiter, found in widths.items() if len({*found}) == 1 and found[0] > 1]
    return even[0] if even else max(_DELIMITERS, key=lambda each: max(widths[each], default=0))


def _rows(text: str, delimiter: str) -> Iterator[list[str]]:
    """Leniently: the last may be cut, and what is wrong with them is told when they are read."""
    csv.field_size_limit(MAX_FIELD_BYTES)
    with suppress(csv.Error):
        yield from filter(None, csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))


def by_number(config: CatalogConfig, names: Sequence[str]) -> CatalogConfig:
    """The settings for a table without names: the first column is the image and the second the
    label, unless they say otherwise.

    Raises:
        PreprocessingError: there are more columns, one of which may be the confidence.
    """
    update: dict[str, str | None] = {}
    if not config.is_set("image_column"):
        update["image_column"] = "0"
    if not config.label_columns and not config.is_set("label_column"):
        update["label_column"] = "1"
    if not config.label_columns and not config.is_set("confidence_column"):
        if len(names) > 2:
            raise PreprocessingError(
                f"{config.path}: expected two columns, an image and a label, where no row names "
                f"them, received {len(names)}; set {config.SECTION}.confidence_column to the "
                "number of a column, the first is 0, or to null where there is none"
            )
        update["confidence_column"] = None
    return config.model_copy(update=update)


def check_is_header(cells: Sequence[str], config: CatalogConfig, line: int) -> None:
    """Raises PreprocessingError for a first row that has the name of a picture where the names of
    columns are to be."""
    image = next(filter(_IMAGE_NAME.search, cells), None)
    if image is not None and config.image_column not in cells:
        raise PreprocessingError(
            f"{config.path}: line {line}: expected a header, received a row with "
            f"{image[:MAX_SHOWN]!r}; set {config.SECTION}.header to false, or put a line with the "
            "names of the columns first"
        )
