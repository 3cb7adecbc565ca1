"""Lists of labels that were printed into a cell of text.

json    ["haze", "primary"]
list    ['haze', 'primary']   Python, and so pandas; also tuples, sets, array(['haze'], ...)
        ['haze' 'primary']    NumPy
        {haze,"clear sky"}    PostgreSQL
        [haze, clear sky]     Spark, Java
"""

import ast
import json
import re
from contextlib import suppress
from enum import StrEnum
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_MAX_SHOWN = 200
"""Characters of a cell in an error."""


class ListForm(StrEnum):
    """How a list was printed."""

    JSON = "json"
    LIST = "list"


def list_form(separator: str | None) -> ListForm | None:
    """The form that the setting names; None when it is a separator, or none."""
    return ListForm(separator) if separator in list(ListForm) else None


def form_of(text: str) -> ListForm | None:
    """As what a text in brackets can be read; None for no brackets, or no list."""
    if text.strip()[:1] in ("[", "(", "{") or _WRAPPED.fullmatch(text.strip()):
        for form in ListForm:
            with suppress(ValueError):
                _read(text, form)
                return form
    return None


class NotAListError(ValueError):
    """A cell is no list of labels.

    Attributes:
        row: Which one.
        hint: What to set the separator to.
    """

    def __init__(self, text: str, row: int, form: ListForm) -> None:
        shown = text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}..."
        kind = "a JSON list of texts" if form is ListForm.JSON else "a list of texts"
        super().__init__(f"expected {kind}, received {shown!r}")
        self.row = row
        self.hint = _hint(text, form)


_NOTHING = frozenset({"", "nan", "none", "null", "<na>", "nat"})
"""What stands for no value, in lower case: of pandas, Python, JSON, SQL."""

_QUOTES = {ListForm.JSON: '"', ListForm.LIST: "'"}

_PLAIN = {
    form: r"^\s*\[\s*'TEXT'(\s*,\s*'TEXT')*\s*\]\s*$".replace("'", quote).replace(
        "TEXT", rf"[^{quote}\\\x00-\x1f]*"
    )
    for form, quote in _QUOTES.items()
}
"""Lists without escapes: what stands between quotes is what the list holds."""

_WRAPPED = re.compile(r"(?:array|frozenset|set|list|tuple)\((.*)\)", re.DOTALL)
_AFTER_A_LIST = re.compile(r",\s*dtype=[^,)]*$")
_CLOSING = {"[": "]", "(": ")", "{": "}"}

_ITEM = re.compile(
    r"""\s*(?:
        (?:np\.str_\()?[bu]?('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")\)?\s*
        | ([^,\[\](){}'"]*)
    )""",
    re.VERBOSE | re.DOTALL,
)
"""A quoted text, or one without quotes up to the next comma."""

_NUMPY_INTEGER = re.compile(r"\bnp\.u?int\d+\((\d+)\)")

_NUMBERS = re.compile(r"-?\d+(\s+-?\d+)+")
"""NumPy's integers, which have blanks between them."""


def read_lists(texts: pa.Array, form: ListForm) -> pa.Array:
    """The lists that texts print: of texts, null for an item of nothing; null for a text of it.

    Raises:
        NotAListError: one of them is none.
    """
    plain = pc.match_substring_regex(texts, _PLAIN[form]).fill_null(False)
    if pc.all(plain).as_py():
        return _between_quotes(texts, _QUOTES[form])
    lists = _between_quotes(texts.filter(plain), _QUOTES[form])
    odd = texts.filter(pc.invert(plain)).dictionary_encode()
    read: list[list[str | None] | None] = []
    is_plain = plain.to_numpy(zero_copy_only=False)
    for code, text in enumerate(odd.dictionary.to_pylist()):
        try:
            read.append(_read(text, form))
        except ValueError as error:
            first = pc.index(odd.indices, code).as_py()
            row = int(np.flatnonzero(~is_plain)[first])
            raise NotAListError(text, row, form) from error
    others = pa.array(read, lists.type).take(odd.indices)
    order = np.empty(len(texts), np.int64)
    order[is_plain] = np.arange(len(lists))
    order[~is_plain] = len(lists) + np.arange(len(others))
    return pa.concat_arrays([lists, others]).take(pa.array(order))


def _between_quotes(texts: pa.Array, quote: str) -> pa.Array:
    """Of plain lists: every second piece between quotes."""
    pieces = pc.split_pattern(texts, quote)
    offsets = pieces.offsets.to_numpy()
    counts = np.diff(offsets)
    place = np.arange(offsets[-1] - offsets[0]) - np.repeat(offsets[:-1] - offsets[0], counts)
    inside = pc.list_flatten(pieces).filter(pa.array(place % 2 == 1))
    ends = np.concatenate(([0], np.cumsum(counts // 2)))
    return pa.ListArray.from_arrays(pa.array(ends.astype(np.int32)), inside)


def _read(text: str, form: ListForm) -> list[str | None] | None:
    """Raises ValueError for what is no list."""
    text = text.strip()
    if text.lower() in _NOTHING:
        return None
    items = _read_json(text) if form is ListForm.JSON else _read_list(text)
    for item in items:
        (item or "").encode()  # An escape may stand for half a character, which is no text.
    return items


def _read_json(text: str) -> list[str | None]:
    try:
        read = json.loads(text)
    except RecursionError as error:
        raise ValueError("too deep") from error
    return [_item(each) for each in (read if isinstance(read, list) else [read])]


def _item(value: Any) -> str | None:
    """A text, or a number as text; NaN is nothing."""
    if value is None or value != value:
        return None
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    raise ValueError("expected texts")


def _read_list(text: str) -> list[str | None]:
    text = _NUMPY_INTEGER.sub(r"\1", text)
    wrapped = _WRAPPED.fullmatch(text)
    if wrapped:
        text = _AFTER_A_LIST.sub("", wrapped[1]).strip()
        if not text:
            return []
    if _CLOSING.get(text[0]) != text[-1]:
        raise ValueError("expected brackets")
    items: list[str | None] = []
    at, end = 1, len(text) - 1
    while at < end:
        found = _ITEM.match(text, at, end)
        assert found is not None
        at = found.end()
        quoted, bare = found.groups()
        if quoted is not None:
            items.append(_unquoted(quoted))
            separated = at == end or text[at] == "," or text[at - 1].isspace()
        else:
            items += _bare_items(bare.strip())
            separated = at == end or text[at] == ","
        if not separated:
            raise ValueError("expected a comma")
        at += at < end and text[at] == ","
    return items


def _unquoted(quoted: str) -> str:
    try:
        return str(ast.literal_eval(quoted))
    except SyntaxError as error:
        raise ValueError("expected a text in quotes") from error


def _bare_items(text: str) -> list[str | None]:
    if text in ("...", "…"):
        raise ValueError("the list was cut short when it was printed")
    if _NUMBERS.fullmatch(text):
        return list(text.split())
    return [None if text.lower() in _NOTHING else text]


def _hint(text: str, form: ListForm) -> str:
    other = form_of(text)
    if other not in (None, form):
        return str(other)
    return "what stands between the labels, or write the cell as a list"
