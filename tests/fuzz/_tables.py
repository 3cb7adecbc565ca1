"""Arrow tables with odd columns, as Parquet."""

import datetime
import decimal
import io
from collections.abc import Callable, Sequence
from typing import Any

import hypothesis
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

_Draw = Callable[[SearchStrategy[Any]], Any]

_INTEGERS = st.integers(-2, 6) | st.sampled_from((2**31, 2**63 - 1, -(2**63)))
_FLOATS = st.floats() | st.sampled_from((0.0, 0.5, 1.0, 2.0))
_WORDS = (
    "",
    " ",
    "cat",
    "dog",
    "owl",
    "0.png",
    "1.png",
    "a|b",
    '["cat"]',
    "\0",
    "x\ny",
    "é",
    "1",
    "nan",
)
_TEXTS = st.sampled_from(_WORDS) | st.text(max_size=6)
_BYTES = st.binary(max_size=6) | st.sampled_from((b"\xff\xfe", b"cat"))

_SCALARS: dict[pa.DataType, SearchStrategy[Any]] = {
    pa.string(): _TEXTS,
    pa.large_string(): _TEXTS,
    pa.string_view(): _TEXTS,
    pa.binary(): _BYTES,
    pa.int64(): _INTEGERS,
    pa.int8(): st.integers(-128, 127),
    pa.uint64(): st.integers(0, 2**64 - 1),
    pa.float64(): _FLOATS,
    pa.float32(): st.floats(width=32),
    pa.float16(): st.floats(width=16),
    pa.bool_(): st.booleans(),
    pa.decimal128(20, 2): st.integers(-9999, 9999).map(lambda n: decimal.Decimal(n) / 100),
    pa.date32(): st.dates(datetime.date(1900, 1, 1)),
    pa.timestamp("us"): st.datetimes(datetime.datetime(1900, 1, 1)),
    pa.timestamp("ns", "UTC"): st.datetimes(
        datetime.datetime(1900, 1, 1), datetime.datetime(2200, 1, 1)
    ),
    pa.time64("us"): st.times(),
    pa.null(): st.none(),
    pa.binary(4): st.binary(min_size=4, max_size=4),
}


@st.composite
def columns(draw: _Draw, rows: int) -> pa.Array:
    """A column of some type: plain, nullable, a dictionary's, lists, structs, maps."""
    type_ = draw(st.sampled_from(list(_SCALARS)))
    values = _SCALARS[type_]
    match draw(
        st.sampled_from(("plain", "plain", "nulls", "list", "list", "struct", "map", "fixed"))
    ):
        case "nulls":
            values = st.none() | values
        case "list":
            kind = draw(st.sampled_from((pa.list_, pa.large_list)))
            type_ = kind(type_)
            values = st.lists(st.none() | values if draw(st.booleans()) else values, max_size=4)
            values = st.none() | values if draw(st.booleans()) else values
        case "struct":
            type_, values = pa.struct({"a": type_}), st.fixed_dictionaries({"a": values})
        case "map":
            type_ = pa.map_(pa.string(), type_)
            values = st.lists(st.tuples(_TEXTS, values), max_size=3)
        case "fixed":
            type_, values = pa.list_(type_, 2), st.lists(values, min_size=2, max_size=2)
    made = pa.array([draw(values) for _ in range(rows)], type_)
    if pa.types.is_string(type_) and draw(st.booleans()):
        made = draw(st.sampled_from((made.dictionary_encode(), made, no_text(made))))
    return made


def no_text(texts: pa.Array) -> pa.Array:
    """Of the same type, with bytes that are no UTF-8: Arrow's readers do not look."""
    return pa.array([b"\xff\xfe"] * len(texts), pa.binary()).view(texts.type)


@st.composite
def tables(draw: _Draw, names: Sequence[str], most_rows: int = 8) -> pa.Table:
    """With some of these columns, or another name in between."""
    rows = draw(st.integers(0, most_rows))
    chosen = [name for name in names if draw(st.integers(0, 9))]
    chosen += draw(st.sampled_from(((), ("other",), (names[0],), ("",))))
    return pa.table([draw(columns(rows)) for _ in chosen], list(chosen))


def to_parquet(table: pa.Table, **options: Any) -> bytes:
    file = io.BytesIO()
    pq.write_table(table, file, **options)
    return file.getvalue()


def parquet(cases: SearchStrategy[pa.Table]) -> SearchStrategy[bytes]:
    """As files, with and without what a writer may add."""
    options = st.fixed_dictionaries(
        {
            "row_group_size": st.sampled_from((1, 3, 1000)),
            "use_dictionary": st.booleans(),
            "write_page_checksum": st.booleans(),
            "compression": st.sampled_from(("none", "snappy", "zstd", "gzip")),
        }
    )
    return st.builds(_written, cases, options)


def _written(table: pa.Table, options: dict[str, Any]) -> bytes:
    try:
        return to_parquet(table, **options)
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid):  # Parquet has no such column.
        hypothesis.reject()
