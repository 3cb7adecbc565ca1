"""Which of Arrow's types are text, names, numbers, and lists of those."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_TEXTS = (pa.string(), pa.large_string(), pa.string_view(), pa.binary(), pa.large_binary())
"""Some writers (Impala, older Spark) do not mark text as such: what is no UTF-8 is told of when it
is read."""


def is_text(type_: pa.DataType) -> bool:
    """Also of a column of nothing but nulls, whose type no writer could know."""
    return _plain(type_) in _TEXTS or pa.types.is_null(type_)


def is_name(type_: pa.DataType) -> bool:
    """Text, or whole numbers, as of classes and authors."""
    return is_text(type_) or pa.types.is_integer(_plain(type_))


def is_number(type_: pa.DataType) -> bool:
    """Also of nothing but nulls."""
    return pa.types.is_floating(type_) or pa.types.is_integer(type_) or pa.types.is_null(type_)


def is_number_or_bool(type_: pa.DataType) -> bool:
    return is_number(type_) or pa.types.is_boolean(type_)


def is_list(type_: pa.DataType) -> bool:
    return (
        pa.types.is_list(type_)
        or pa.types.is_large_list(type_)
        or pa.types.is_fixed_size_list(type_)
        or _is_list_view(type_)
    )


def is_list_of_names(type_: pa.DataType) -> bool:
    return is_list(type_) and is_name(type_.value_type)


def is_list_of_numbers(type_: pa.DataType) -> bool:
    return is_list(type_) and is_number(type_.value_type)


def as_kind(cells: pa.Array, kind: pa.DataType) -> pa.Array:
    """Cells as text, numbers, or lists of those; text is not looked at whether it is UTF-8."""
    if _is_list_view(cells.type):  # Arrow's own cast loses some of them (25.0.1).
        lengths = pc.list_value_length(cells).fill_null(0).to_numpy()
        offsets = pa.array(np.append(0, np.cumsum(lengths)).astype(np.int32))
        values = pc.list_flatten(cells)
        cells = pa.ListArray.from_arrays(offsets, values, mask=cells.is_null())
    return cells.cast(kind, safe=False)


def _plain(type_: pa.DataType) -> pa.DataType:
    return type_.value_type if pa.types.is_dictionary(type_) else type_


def _is_list_view(type_: pa.DataType) -> bool:
    return pa.types.is_list_view(type_) or pa.types.is_large_list_view(type_)
