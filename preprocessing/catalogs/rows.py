"""The columns that all catalogs have in common, as tables of many rows."""

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from manylabel.preprocessing.catalog_config import CatalogConfig
from manylabel.preprocessing.catalogs.columns import Columns
from manylabel.preprocessing.catalogs.joined_labels import is_plain, pairs_of_cells
from manylabel.preprocessing.catalogs.label_pairs import longest
from manylabel.preprocessing.catalogs.wide_labels import pairs_of_columns

BATCH_ROWS = 250_000
BATCH_BYTES = 64 << 20
"""What a table of rows is kept to, so that a catalog with long cells needs no more memory."""


def tables_of(
    columns: Columns, cells: Callable[[int], pa.Array], config: CatalogConfig
) -> Iterator[pa.Table]:
    """The rows that some rows of a table amount to, of the split that is read, in order.

    Args:
        columns: Where the parts of a row are.
        cells: The cells of a column, all of the same length: texts; for a label also lists of
            texts; for a confidence also floats of 64 bits or lists of them, which `labels` may be
            as well.
        config: Which form the labels have.

    Raises:
        PreprocessingError: a cell that is to be a list is none.
    """
    kept = None if columns.split is None else pc.equal(cells(columns.split), config.split)

    def part(at: int | None) -> pa.Array | None:
        if at is None:
            return None
        return cells(at) if kept is None else cells(at).filter(kept)

    image, group = part(columns.image), part(columns.group)
    assert image is not None
    if config.image_suffix:
        named = pc.binary_join_element_wise(image, config.image_suffix, "")
        image = pc.if_else(pc.equal(image, ""), image, named)
    if columns.labels:
        pairs = pairs_of_columns(
            columns.labels, [part(at) for at in columns.labels.values()], config
        )
    else:
        label, confidence = part(columns.label), part(columns.confidence)
        assert label is not None
        if is_plain(label, confidence, config):
            yield raw_table(image, label, confidence, group)
            return
        pairs = pairs_of_cells(label, confidence, config, image)
    row_bytes = longest(image) + (0 if group is None else longest(group))
    for some in pairs.slices(BATCH_ROWS, BATCH_BYTES, row_bytes):
        rows = pa.array(some.row)
        yield raw_table(
            image.take(rows),
            some.labels(),
            some.confidences(),
            None if group is None else group.take(rows),
        )


def raw_table(
    image: pa.Array, label: pa.Array, confidence: pa.Array | None, group: pa.Array | None
) -> pa.Table:
    """Rows as all readers give them; None stands for a column that the settings do not name.

    Columns:
        image: Text, never null.
        label: Text, null for none, never empty.
        confidence: Text as a CSV spells it, never null; or float64, null where a Parquet file has
            none. Whether it is a number in [0, 1] is decided later, where a bad one is counted.
        group: Text, null for none, never empty.
    """
    if confidence is None:
        confidence = pa.array(np.ones(len(image)))
    elif pa.types.is_string(confidence.type):
        confidence = confidence.fill_null("")
    columns = {
        "image": image.fill_null(""),
        "label": _empty_to_null(label),
        "confidence": confidence,
        "group": pa.nulls(len(image), pa.string()) if group is None else _empty_to_null(group),
    }
    return pa.table(columns)


def gather(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """The same rows in fewer and nearly equal tables, within BATCH_ROWS and BATCH_BYTES.

    A table that is larger than BATCH_BYTES already stays one.
    """
    waiting: list[pa.Table] = []
    rows = size = 0
    for table in tables:
        for start in range(0, table.num_rows, BATCH_ROWS):
            part = table.slice(start, BATCH_ROWS)
            if waiting and (rows + part.num_rows > BATCH_ROWS or size + part.nbytes > BATCH_BYTES):
                yield pa.concat_tables(waiting).combine_chunks()
                waiting, rows, size = [], 0, 0
            waiting.append(part)
            rows, size = rows + part.num_rows, size + part.nbytes
    if waiting:
        yield pa.concat_tables(waiting).combine_chunks()


def _empty_to_null(text: pa.Array) -> pa.Array:
    return pc.if_else(pc.equal(text, ""), pa.scalar(None, pa.string()), text)
