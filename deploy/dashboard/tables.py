"""Tables with many rows: sorted, searched and filtered by their address, shown a few rows at first.

The server renders the first rows of what an address asks for. static/page.js then fetches all rows
once, as columns, and goes on with the same rules, which is why they are plain: a column has a
format by name, a link by pattern, and filters compare for equality.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from manylabel.deploy import spreadsheets
from manylabel.deploy.dashboard.charts import svg
from manylabel.deploy.dashboard.errors import BadAddress
from manylabel.deploy.dashboard.formats import FORMATS, NOTHING
from manylabel.deploy.dashboard.view import View
from manylabel.deploy.spreadsheets import line

FIRST_ROWS = 40
BAR_WIDTH, BAR_HEIGHT = 120, 10


@dataclass(frozen=True)
class Column:
    """One column of N values.

    Attributes:
        key: Its name in addresses, JSON and CSV.
        title: Its heading; "" for a column that is data only (of links, filters and files).
        values: NumPy array or list; None or NaN where there is none.
        format: A name of `formats.FORMATS`; all but "text" are numbers, right-aligned.
        href: Pattern of a link with the keys of columns in braces: "/labels/{class_id}".
        sorts: Whether its heading sorts by it; not where the text of another column's numbers is.
        bar: Whether a bar shows the value beside its number, to the scale of the largest.
        tone: Key of a column of CSS classes for its cells: "gain", "loss" or "".
        help: What it is, in a sentence.
        absent: What stands where there is no value.
    """

    key: str
    title: str
    values: Sequence[Any] | NDArray[Any]
    format: str = "text"
    href: str | None = None
    sorts: bool = True
    bar: bool = False
    tone: str | None = None
    help: str | None = None
    absent: str = NOTHING

    @property
    def is_number(self) -> bool:
        return self.format != "text"

    def plain(self) -> list[Any]:
        """As files have them: what is no number is None."""
        values = self.values.tolist() if isinstance(self.values, np.ndarray) else list(self.values)
        if self.is_number:
            return [value if is_number(value) else None for value in values]
        return values

    def files(self) -> list[str]:
        """As CSV has them."""
        texts = ["" if value is None else str(value) for value in self.plain()]
        return texts if self.is_number else [spreadsheets.as_text(text) for text in texts]


@dataclass(frozen=True)
class Filter:
    """A choice among the values of a column; one option is a check box.

    Attributes:
        key: Of the column, and of the parameter.
        options: (value in the column as text, what it is called).
    """

    key: str
    title: str
    options: tuple[tuple[str, str], ...]


@dataclass(frozen=True, eq=False)
class Table:
    """A table of N rows.

    Attributes:
        name: Of its files.
        order: Default order: the key of a column, "-" before it for descending.
        magnitude: Keys of columns that are sorted by size whatever the sign.
        search: Keys of the text columns that are searched; () for no search.
        caption: What the rows are, for screen readers.
        noun: What a row is, in the plural: "labels".
        first: Rows in the page itself.
        follows_address: Whether the page's address says in what order and which rows.
    """

    name: str
    columns: tuple[Column, ...]
    order: str
    caption: str
    noun: str
    magnitude: tuple[str, ...] = ()
    search: tuple[str, ...] = ()
    filters: tuple[Filter, ...] = ()
    first: int = FIRST_ROWS
    follows_address: bool = True

    def __len__(self) -> int:
        return len(self.columns[0].values)

    @property
    def shown(self) -> tuple[Column, ...]:
        return tuple(column for column in self.columns if column.title)

    @property
    def parameters(self) -> tuple[str, ...]:
        """Of an address, that decide which rows there are and in what order."""
        return "q", "sort", *(each.key for each in self.filters)

    def next_order(self, column: Column, order: str) -> str | None:
        """The order after a click on a heading: numbers descend first; None is the default."""
        down = f"-{column.key}"
        first = down if column.is_number else column.key
        other = {column.key: down, down: column.key}
        wanted = other.get(order, first)
        return None if wanted == self.order else wanted

    def column(self, key: str) -> Column:
        return next(column for column in self.columns if column.key == key)

    def sorted_by(self, view: View) -> str:
        """The order that an address asks for; raises BadAddress for one there is not."""
        order = (view.text("sort") if self.follows_address else None) or self.order
        if order.removeprefix("-") not in {column.key for column in self.columns}:
            keys = ", ".join(column.key for column in self.shown)
            raise BadAddress(f"sort={order}: expected one of {keys}, with - before it to descend")
        return order

    def rows(self, view: View) -> NDArray[np.int64]:
        """Row numbers that an address asks for, in its order; absent values come last."""
        kept = list(range(len(self)))
        if self.search and (wanted := view.text("q")):
            needle = wanted.casefold()
            texts = [self.column(key).values for key in self.search]
            kept = [row for row in kept if any(needle in text[row].casefold() for text in texts)]
        for each in self.filters:
            if value := view.choice(each.key, tuple(option for option, _ in each.options)):
                values = self.column(each.key).values
                kept = [row for row in kept if as_text(values[row]) == value]
        return self._sorted(np.array(kept, dtype=np.int64), self.sorted_by(view))

    def _sorted(self, rows: NDArray[np.int64], order: str) -> NDArray[np.int64]:
        column = self.column(order.removeprefix("-"))
        if column.is_number:
            keys = np.array(column.values, dtype=np.float64)[rows]
            keys = np.abs(keys) if column.key in self.magnitude else keys
            return rows[np.argsort(-keys if order.startswith("-") else keys, kind="stable")]
        texts = [str(column.values[row]).casefold() for row in rows]
        places = sorted(range(len(rows)), key=texts.__getitem__, reverse=order.startswith("-"))
        return rows[np.array(places, dtype=np.int64)]

    def as_json(self) -> dict[str, Any]:
        """All rows in their own order, column by column, and what page.js must know of them."""
        return {
            "rows": len(self),
            "order": self.order,
            "search": self.search,
            "magnitude": self.magnitude,
            "filters": [each.key for each in self.filters],
            "columns": [
                {
                    "key": column.key,
                    "title": column.title,
                    "format": column.format,
                    "href": column.href,
                    "bar": column.bar,
                    "tone": column.tone,
                    "absent": column.absent,
                    "values": column.plain(),
                }
                for column in self.columns
            ],
        }

    def as_csv(self, view: View) -> str:
        """The rows of the address, numbers in full; no text becomes a formula of a spreadsheet."""
        cells = [column.files() for column in self.columns]
        lines = [line(*(column.key for column in self.columns))]
        lines += [line(*(values[row] for values in cells)) for row in self.rows(view).tolist()]
        return "".join(lines)


def is_number(value: Any) -> bool:
    """Whether a value can be shown as a number: neither None nor NaN nor infinite."""
    return value is not None and math.isfinite(value)


def as_text(value: Any) -> str:
    """A value as filters and links spell it: true, false, 12, the text itself."""
    return str(value).lower() if isinstance(value, bool | np.bool_) else str(value)


@dataclass(frozen=True)
class Cell:
    """What one cell shows."""

    text: str
    href: str | None
    bar: Markup | None
    has_bar: bool
    css: str


def cells(table: Table, row: int) -> list[Cell]:
    """A row of the HTML table."""
    return [_cell(table, column, row) for column in table.shown]


def _cell(table: Table, column: Column, row: int) -> Cell:
    value = column.values[row]
    absent = value is None or (column.is_number and not is_number(value))
    text = column.absent if absent else FORMATS[column.format](value)
    return Cell(
        text=text,
        href=None if column.href is None else linked(column.href, _values(table, row)),
        bar=bar(value, largest(column)) if column.bar and not absent else None,
        has_bar=column.bar,
        css=_css(table, column, row),
    )


def _css(table: Table, column: Column, row: int) -> str:
    tone = "" if column.tone is None else table.column(column.tone).values[row]
    return " ".join(filter(None, ("number" if column.is_number else "", tone)))


def _values(table: Table, row: int) -> Mapping[str, str]:
    return {column.key: as_text(column.values[row]) for column in table.columns}


def linked(pattern: str, values: Mapping[str, str]) -> str:
    """A link from its pattern; values are quoted for an address."""
    for key, value in values.items():
        pattern = pattern.replace(f"{{{key}}}", quote(value, safe="@"))
    return pattern


def largest(column: Column) -> float:
    """The largest size of a value, which a bar of full length stands for."""
    values = np.abs(np.array(column.values, dtype=np.float64))
    return float(np.nanmax(values)) if np.isfinite(values).any() else 0.0


def bar(value: float, full: float) -> Markup:
    """A bar as long as the value is large: to the right in the colour of gain, or loss."""
    width = BAR_WIDTH * abs(value) / full if full else 0.0
    class_ = "bar gain" if value > 0 else "bar loss"
    return Markup(
        svg.element(
            "svg",
            svg.element("rect", width=width, height=BAR_HEIGHT, rx=1, class_=class_),
            class_="cell",
            width=BAR_WIDTH,
            height=BAR_HEIGHT,
            aria_hidden="true",
        )
    )
