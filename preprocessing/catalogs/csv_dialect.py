"""How a CSV is written: what stands between its cells, and whether its first row names them."""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from manylabel.preprocessing.config import CatalogConfig
from manylabel.preprocessing.errors import PreprocessingError

_DELIMITERS = (",", ";", "\t", "|")
"""In this order where nothing speaks for another."""

_DELIMITERS_WITHOUT_NAMES = ("\t", ",", ";", "|")
"""Text between tabs may hold commas; hardly any cell holds a tab."""

_ROWS_LOOKED_AT = 20

_SEPARATOR_LINE = re.compile(rb'"?sep=([^\r\n"])"?(?:\r\n|\n|\r)')
"""What Excel takes for a note on the delimiter, and other programs write for it."""

MAX_SHOWN = 200
"""Characters of a cell in an error."""

_IMAGE_NAME = re.compile(r"\.(jpe?g|png|webp|gif|bmp|tiff?)$", re.IGNORECASE)


@dataclass(frozen=True)
class Dialect:
    """How one file is written.

    Attributes:
        delimiter: One character of ASCII.
        names: Numbers of the columns, the first is 0, where no row names them; else None, and for
            an empty file.
    """

    delimiter: str
    names: list[str] | None


def without_separator_line(start: bytes, config: CatalogConfig) -> tuple[bytes, CatalogConfig]:
    """The start of a file without Excel's `sep=;`, and the settings with what it says."""
    line = _SEPARATOR_LINE.match(start)
    if line is None:
        return start, config
    delimiter = config.delimiter or line.group(1).decode("ascii", "replace")
    return start[line.end() :], config.model_copy(update={"delimiter": delimiter})


def find_dialect(start: bytes, config: CatalogConfig) -> Dialect:
    """As the settings say, and else as the first rows do.

    Args:
        start: Of the file, whole lines.
        config: The settings.
    """
    text = start.decode(errors="replace")
    if config.header:
        return Dialect(config.delimiter or _by_names(text, config), None)
    delimiter = config.delimiter or _by_rows(text)
    first = next(_rows(text, delimiter), [])
    return Dialect(delimiter, [str(number) for number in range(len(first))] or None)


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
    return (
        even[0]
        if even
        else max(_DELIMITERS, key=lambda delimiter: max(widths[delimiter], default=0))
    )


def _rows(text: str, delimiter: str) -> Iterator[list[str]]:
    """Up to the first that is broken, which is told of when it is read."""
    try:
        yield from filter(
            None, csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        )
    except csv.Error:
        return


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
