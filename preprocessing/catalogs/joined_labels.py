"""Cells of several labels: joined by a separator, printed as lists, or lists of Arrow's own."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from manylabel.preprocessing.catalog_config import CatalogConfig
from manylabel.preprocessing.catalogs.label_lists import (
    ListForm,
    NotAListError,
    list_form,
    read_lists,
)
from manylabel.preprocessing.catalogs.label_pairs import Pairs
from manylabel.preprocessing.errors import PreprocessingError

_OPENS_A_LIST = r"^\s*[\[({]"


def is_plain(label: pa.Array, confidence: pa.Array | None, config: CatalogConfig) -> bool:
    """Whether each cell is one label as it stands."""
    is_list = _is_list(label) or (confidence is not None and _is_list(confidence))
    return not (is_list or config.label_separator or config.null_values)


def pairs_of_cells(
    label: pa.Array, confidence: pa.Array | None, config: CatalogConfig, image: pa.Array
) -> Pairs:
    """The labels that rows have, with their confidences.

    Parts of nothing (a separator at the end, two in a row) are no labels. A cell of one confidence
    has that of all labels; one of as many confidences as labels has each its own, in order. With
    any other number none can be told: they are left to be rejected by name.

    Args:
        label: Texts, or lists of texts.
        confidence: Texts, floats of 64 bits, or lists of those.
        config: Which form cells have, and what means nothing.
        image: Of each row, for errors.

    Raises:
        PreprocessingError: a cell that is to be a list is none.
    """
    separator = config.label_separator
    if separator is not None and _is_list(label):
        raise PreprocessingError(
            f"{config.path}: column {config.label_column!r}: expected text, received lists; remove "
            f"{config.SECTION}.label_separator, a column of lists needs none"
        )
    try:
        lists = label if _is_list(label) else _split(label, separator)
    except NotAListError as error:
        place = f"{config.path}: image {image[error.row].as_py()!r}, column {config.label_column!r}"
        raise PreprocessingError(
            f"{place}: {error}; set {config.SECTION}.label_separator to {error.hint}"
        ) from error
    row, names = pc.list_parent_indices(lists).to_numpy(), pc.list_flatten(lists)
    if separator is not None and list_form(separator) is None:
        names = pc.utf8_trim_whitespace(names)
    says = pc.and_(pc.is_valid(names), pc.not_equal(names, ""))
    if config.null_values:
        nulls = pa.array([value.strip() for value in config.null_values])
        says = pc.and_not(says, pc.is_in(pc.utf8_trim_whitespace(names), nulls))
    says = says.fill_null(False).to_numpy(zero_copy_only=False)
    value, values = _confidences(confidence, separator, row, says, len(label))
    names = names.filter(pa.array(says))
    pairs = Pairs(row[says], np.arange(len(names)), names, value, values)
    return pairs.with_empty_rows(len(label))


def _split(texts: pa.Array, separator: str | None) -> pa.Array:
    """A list for each text; null for a null."""
    if separator is None:
        offsets = np.arange(len(texts) + 1, dtype=np.int32)
        return pa.ListArray.from_arrays(pa.array(offsets), texts)
    form = list_form(separator)
    return pc.split_pattern(texts, separator) if form is None else read_lists(texts, form)


def _confidences(
    confidence: pa.Array | None,
    separator: str | None,
    row: np.ndarray,
    says: np.ndarray,
    rows: int,
) -> tuple[np.ndarray, pa.Array | None]:
    """For each label that says something the place of its confidence, and the confidences."""
    if confidence is None:
        return np.zeros(np.count_nonzero(says), np.int64), None
    lists = confidence if _is_list(confidence) else _split_confidences(confidence, separator)
    if lists is None:
        return row[says], confidence
    values = pc.list_flatten(lists)
    if pa.types.is_string(values.type):
        values = pc.utf8_trim_whitespace(values)
    place = _places(row, says, lists, values, rows)
    if _is_list(confidence):
        odd = "a list of another length" if pa.types.is_string(values.type) else np.nan
        whole, untold = pa.array([odd], values.type), np.full(len(place), len(values))
    else:
        whole, untold = confidence, len(values) + row[says]
    return np.where(place < 0, untold, place), pa.concat_arrays([values, whole])


def _split_confidences(confidence: pa.Array, separator: str | None) -> pa.Array | None:
    """A list for each cell; None when every cell is one number, or is to be taken for one."""
    if separator is None or not pa.types.is_string(confidence.type):
        return None
    form = list_form(separator)
    if form is None:
        several = pc.match_substring(confidence, separator)
    else:
        several = pc.match_substring_regex(confidence, _OPENS_A_LIST)
    if not pc.any(several).as_py():
        return None
    if form is None:
        return pc.split_pattern(confidence, separator)
    read = [_list_or_whole(text, form) for text in confidence.to_pylist()]
    return pa.array(read, pa.list_(pa.string()))


def _list_or_whole(text: str | None, form: ListForm) -> list[str | None]:
    try:
        return read_lists(pa.array([text], pa.string()), form).to_pylist()[0] or []
    except NotAListError:
        return [text]


def _places(
    row: np.ndarray, says: np.ndarray, lists: pa.Array, values: pa.Array, rows: int
) -> np.ndarray:
    """Where in `values` the confidence of each label is that says something; -1 for nowhere.

    Args:
        row: Of each part of a cell of labels, ascending.
        says: Which of these parts are labels.
        lists: The confidences of each row.
        values: The same in one.
        rows: How many there are.
    """
    of_value = pc.list_parent_indices(lists).to_numpy()
    told = values.is_valid()
    if pa.types.is_string(values.type):
        told = pc.and_(told, pc.not_equal(values, "")).fill_null(False)
    told = told.to_numpy(zero_copy_only=False)
    mine = row[says]
    parts, first = _runs(row, rows)
    numbers, first_number = _runs(of_value, rows)
    labels, first_label = _runs(mine, rows)
    given, first_given = _runs(of_value[told], rows)
    place = np.flatnonzero(says) - first[mine]
    rank = np.arange(len(mine)) - first_label[mine]
    # The last stands for all that are not there, which no case below chooses.
    kept = np.append(np.flatnonzero(told), -1)
    by_rank = kept[np.minimum(first_given[mine] + rank, len(kept) - 1)]
    cases = (
        (numbers == 1, first_number[mine]),
        (numbers == parts, first_number[mine] + place),
        (given == labels, by_rank),
    )
    return np.select([case[mine] for case, _ in cases], [at for _, at in cases], -1)


def _runs(owner: np.ndarray, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Of ascending owners, how many each row has, and where its first one is."""
    counts = np.bincount(owner, minlength=rows)
    return counts, np.cumsum(counts) - counts


def _is_list(cells: pa.Array) -> bool:
    return bool(pa.types.is_list(cells.type))
