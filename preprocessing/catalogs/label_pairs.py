"""Pairs of row and label, of a table in which a row may have many labels."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_PAIR_BYTES = 64


@dataclass(frozen=True)
class Pairs:
    """Labels of rows, in the order of the rows; a row without a label has one pair of none.

    Attributes:
        row: int64; of each pair its row.
        name: int64; its label's place in `names`, -1 for no label.
        names: Texts.
        value: int64; its confidence's place in `values`, -1 for none that could be told.
        values: Texts or floats of 64 bits; None when all confidences are 1.
    """

    row: np.ndarray
    name: np.ndarray
    names: pa.Array
    value: np.ndarray
    values: pa.Array | None

    def labels(self) -> pa.Array:
        """Null for none."""
        return self.names.take(pa.array(self.name, mask=self.name < 0))

    def confidences(self) -> pa.Array | None:
        """Null for what could not be told; None when all are 1."""
        if self.values is None:
            return None
        return self.values.take(pa.array(self.value, mask=self.value < 0))

    def slices(self, rows: int, size: int, row_bytes: int) -> Iterator["Pairs"]:
        """Parts of at most so many pairs, and so many bytes when each is written as a row.

        However many labels a row has, a long path is not written that often at once.

        Args:
            rows: Pairs of a part at most.
            size: Bytes of a part at most, unless it is one pair.
            row_bytes: Of what is written beside a label, at most.
        """
        row_bytes += _PAIR_BYTES + longest(self.names)
        if self.values is not None and pa.types.is_string(self.values.type):
            row_bytes += longest(self.values)
        step = max(1, min(rows, size // row_bytes))
        for start in range(0, len(self.row), step):
            part = slice(start, start + step)
            yield Pairs(self.row[part], self.name[part], self.names, self.value[part], self.values)

    def with_empty_rows(self, rows: int) -> "Pairs":
        """With a pair of no label for each of `rows` rows that has none."""
        empty = np.flatnonzero(np.bincount(self.row, minlength=rows) == 0)
        if not len(empty):
            return self
        row = np.concatenate([self.row, empty])
        order = np.argsort(row, kind="stable")
        none = np.full(len(empty), -1)
        name, value = (np.concatenate([part, none])[order] for part in (self.name, self.value))
        return Pairs(row[order], name, self.names, value, self.values)


def longest(texts: pa.Array) -> int:
    """Bytes of the longest text."""
    return pc.max(pc.binary_length(texts)).as_py() or 0
