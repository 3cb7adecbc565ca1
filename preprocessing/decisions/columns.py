"""Working on columns: texts as codes, lists as flat arrays with owners, runs of equal values."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def concat(tables: Iterable[pa.Table]) -> pa.Table:
    """One table of one chunk."""
    return pa.concat_tables(tables).combine_chunks()


def column(table: pa.Table, name: str) -> pa.Array:
    """One array, however many chunks the table has."""
    chunks = table[name]
    return chunks.chunk(0) if chunks.num_chunks == 1 else chunks.combine_chunks()


def numbers(table: pa.Table, name: str) -> np.ndarray:
    return column(table, name).to_numpy(zero_copy_only=False)


def replace_column(table: pa.Table, name: str, values: pa.Array) -> pa.Table:
    return table.set_column(table.schema.get_field_index(name), name, values)


def encode(texts: pa.Array) -> tuple[pa.Array, np.ndarray]:
    """The different texts, and for each row the number of its text; -1 for a null."""
    encoded = texts.dictionary_encode()
    return encoded.dictionary, encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)


def map_distinct(texts: pa.Array, function: Callable[[str], Any], kind: pa.DataType) -> pa.Array:
    """`function` of each text, called once for equal texts; null stays null."""
    distinct, codes = encode(texts)
    mapped = pa.array([function(text) for text in distinct.to_pylist()], kind)
    return mapped.take(pa.array(codes, mask=codes < 0))


def run_starts(*keys: np.ndarray) -> np.ndarray:
    """Where runs of equal rows begin, in columns that are sorted."""
    if not len(keys[0]):
        return np.empty(0, np.int64)
    differs = np.logical_or.reduce([key[1:] != key[:-1] for key in keys])
    return np.concatenate(([0], np.flatnonzero(differs) + 1))


def flatten(lists: pa.Array) -> tuple[np.ndarray, pa.Array]:
    """The row that each value belongs to, and the values."""
    return pc.list_parent_indices(lists).to_numpy(), pc.list_flatten(lists)


def unflatten(owners: np.ndarray, values: pa.Array, rows: int) -> pa.Array:
    """Lists for `rows` rows; `owners` is ascending."""
    offsets = np.zeros(rows + 1, np.int32)
    np.cumsum(np.bincount(owners, minlength=rows), out=offsets[1:])
    return pa.ListArray.from_arrays(pa.array(offsets), values)


def found_in(values: np.ndarray, known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Whether each value is in `known`, which is sorted, and where it is or would be."""
    places = np.searchsorted(known, values)
    hits = np.zeros(len(values), bool)
    inside = places < len(known)
    hits[inside] = known[places[inside]] == values[inside]
    return hits, places


def digest_bytes(images: pa.Table) -> np.ndarray:
    """The column `digest` as a matrix of bytes."""
    digests = column(images, "digest")
    width = digests.type.byte_width
    data = np.frombuffer(digests.buffers()[1], np.uint8)
    return data[digests.offset * width : (digests.offset + len(digests)) * width].reshape(-1, width)


def hex_texts(data: np.ndarray) -> pa.Array:
    """Lower-case hexadecimal digits of each row of a matrix of bytes."""
    digits = np.frombuffer(b"0123456789abcdef", np.uint8)
    text = np.empty((*data.shape, 2), np.uint8)
    text[..., 0], text[..., 1] = digits[data >> 4], digits[data & 15]
    offsets = np.arange(len(data) + 1, dtype=np.int32) * (2 * data.shape[1])
    return pa.StringArray.from_buffers(len(data), pa.py_buffer(offsets), pa.py_buffer(text))
