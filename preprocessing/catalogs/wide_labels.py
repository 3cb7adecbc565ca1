"""Wide tables: a column for each label, whose cells say whether an image has it."""

from collections.abc import Collection, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from manylabel.preprocessing.catalogs.label_pairs import Pairs
from manylabel.preprocessing.config import CatalogConfig, LabelZeros

_TRUE = ("true", "yes", "t", "y")
_FALSE = ("false", "no", "f", "n")
"""As pandas, R, spreadsheets and databases write them; in any case."""

_ZERO = r"^[+-]?(0+\.?0*|\.0+)([eE][+-]?[0-9]+)?$"

_NAN = ("", "nan")
"""What pandas and NumPy have for a cell of nothing; in any case."""


def pairs_of_columns(
    labels: Collection[str], cells: Sequence[pa.Array], config: CatalogConfig
) -> Pairs:
    """The labels that rows have, with their confidences.

    A cell that says nothing gives no pair, so that thousands of columns cost what is in them. What
    is no number in [0, 1] is kept as it is, to be rejected by name.

    Args:
        labels: Names of the columns.
        cells: Their cells: all texts, or all floats of 64 bits.
        config: What a 0 means, and what means nothing.
    """
    rows = len(cells[0])
    stacked = pa.concat_arrays(cells)
    if pa.types.is_floating(stacked.type):
        values, code, says = _of_numbers(stacked, config)
    else:
        values, code, says = _of_texts(stacked, config)
    # By row, though cells come by column.
    matrix = np.ascontiguousarray(says.reshape(len(cells), rows).T)
    row, name = np.nonzero(matrix)
    value = code[name * rows + row]
    names = pa.array(labels, pa.string())
    return Pairs(row, name, names, value, values).with_empty_rows(rows)


def _of_numbers(cells: pa.Array, config: CatalogConfig) -> tuple[pa.Array, np.ndarray, np.ndarray]:
    """Confidences, for each cell the place of its own, and whether it says anything."""
    numbers = cells.to_numpy(zero_copy_only=False)
    says = ~np.isnan(numbers)
    if config.label_zeros is LabelZeros.UNKNOWN:
        says &= numbers != 0
    if config.null_values:
        says &= ~np.isin(numbers, _as_numbers(config.null_values))
    return cells, np.arange(len(cells)), says


def _of_texts(cells: pa.Array, config: CatalogConfig) -> tuple[pa.Array, np.ndarray, np.ndarray]:
    """As `_of_numbers`; words become numbers."""
    encoded = cells.dictionary_encode()
    texts = pc.utf8_trim_whitespace(encoded.dictionary)
    lower = pc.utf8_lower(texts)
    texts = pc.if_else(pc.is_in(lower, pa.array(_TRUE)), pa.scalar("1"), texts)
    texts = pc.if_else(pc.is_in(lower, pa.array(_FALSE)), pa.scalar("0"), texts)
    silent = pc.is_in(lower, pa.array(_NAN))
    if config.label_zeros is LabelZeros.UNKNOWN:
        silent = pc.or_(silent, pc.match_substring_regex(texts, _ZERO))
    if config.null_values:
        nulls = pa.array([value.strip() for value in config.null_values])
        silent = pc.or_(silent, pc.is_in(pc.utf8_trim_whitespace(encoded.dictionary), nulls))
        silent = pc.or_(silent, _are_numbers(texts, _as_numbers(config.null_values)))
    code = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    # A null cell has the code -1, and so the last entry.
    says = np.append(~silent.to_numpy(zero_copy_only=False), False)[code]
    return texts, code, says


def _as_numbers(texts: Sequence[str]) -> np.ndarray:
    """Of those that are numbers: a null of -1 is one of -1.0."""
    return np.array([value for value in map(_as_number, texts) if value is not None], float)


def _as_number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _are_numbers(texts: pa.Array, numbers: np.ndarray) -> pa.Array:
    wanted = set(numbers.tolist())
    return pa.array([_as_number(text) in wanted for text in texts.to_pylist()], pa.bool_())
