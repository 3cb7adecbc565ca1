"""Wide tables: a column for each label, whose cells say whether an image has it; or columns whose
cells are labels."""

from collections.abc import Collection, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from manylabel.preprocessing.catalog_config import CatalogConfig, LabelCells, LabelZeros
from manylabel.preprocessing.catalogs.label_pairs import Pairs

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
    if config.label_cells is LabelCells.NAMES:
        names, code, says = _of_names(stacked, config)
        row, at = _by_row(says, rows)
        return Pairs(row, code[at], names, code[at], None).with_empty_rows(rows)
    if pa.types.is_floating(stacked.type):
        values, code, says = _of_numbers(stacked, config)
    else:
        values, code, says = _of_texts(stacked, config)
    row, at = _by_row(says, rows)
    names = pa.array(labels, pa.string())
    return Pairs(row, at // max(1, rows), names, code[at], values).with_empty_rows(rows)


def _by_row(says: np.ndarray, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Of each cell that says something its row and its place, in the order of the rows, though
    cells come by column."""
    columns = len(says) // max(1, rows)
    row, column = np.nonzero(np.ascontiguousarray(says.reshape(columns, rows).T))
    return row, column * rows + row


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
    return texts, *_coded(encoded, silent)


def _of_names(cells: pa.Array, config: CatalogConfig) -> tuple[pa.Array, np.ndarray, np.ndarray]:
    """As `_of_numbers`, of labels."""
    encoded = cells.dictionary_encode()
    names = pc.utf8_trim_whitespace(encoded.dictionary)
    nulls = pa.array(["", *(value.strip() for value in config.null_values)])
    return names, *_coded(encoded, pc.is_in(names, nulls))


def _coded(encoded: pa.DictionaryArray, silent: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """For each cell the place of its text, and whether it says anything; a null says nothing."""
    code = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    return code, np.append(~silent.to_numpy(zero_copy_only=False), False)[code]


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
