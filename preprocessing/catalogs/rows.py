"""The columns that all catalogs have in common, as tables of many rows."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from manylabel.preprocessing.config import CatalogConfig
from manylabel.preprocessing.errors import PreprocessingError

BATCH_ROWS = 250_000
BATCH_BYTES = 64 << 20
"""What a table of rows is kept to, so that a catalog with long cells needs no more memory."""


MAX_SHOWN = 1000
"""Characters of a header in an error; a file of another kind may have a line of megabytes."""


class Columns(NamedTuple):
    """Positions of a row's parts in a table; None where the settings name no column."""

    image: int
    label: int
    confidence: int | None
    group: int | None
    split: int | None


def find_columns(config: CatalogConfig, names: Sequence[str]) -> Columns:
    """Where the columns that the settings name are.

    Raises:
        PreprocessingError: a column is missing, or is there more than once.
    """

    def find(setting: str) -> int | None:
        name = getattr(config, setting)
        if name is None:
            return None
        if name not in names:
            shown = str(list(names))
            if len(shown) > MAX_SHOWN:
                shown = f"{shown[:MAX_SHOWN]}..."
            hint = " or to null" if setting == "confidence_column" else ""
            raise PreprocessingError(
                f"{config.path}: expected a column {name!r}, received columns {shown}; "
                f"set {config.SECTION}.{setting} to one of them{hint}"
            )
        if names.count(name) > 1:
            raise PreprocessingError(
                f"{config.path}: expected one column {name!r}, received {names.count(name)}; "
                f"rename all but one, or set {config.SECTION}.{setting} to another"
            )
        return names.index(name)

    image, label = find("image_column"), find("label_column")
    assert image is not None
    assert label is not None
    others = (find(f"{part}_column") for part in ("confidence", "group", "split"))
    return Columns(image, label, *others)


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


def of_split(table: pa.Table, splits: pa.Array | None, config: CatalogConfig) -> pa.Table:
    """The rows of the split that the settings name, or all rows; `splits` has each row's."""
    return table if splits is None else table.filter(pc.equal(splits, config.split))


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
