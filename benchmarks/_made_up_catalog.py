"""Catalogs of any size, drawn from a seed: labels with a long tail, of pictures that do not exist.

A row group of about a million rows is in memory at a time.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from benchmarks._made_up_pictures import names_of

LABELS = 5_000
TAIL = 1.6  # exponent of the fall after the 30 most common
ABSENT, UNSURE = 0.05, 0.10  # of the rows: confidence 0, and some other below 1
AUTHOR_PICTURES = 20  # of each author, one after another
GROUP_ROWS = 1_000_000

COLUMNS = pa.schema(
    [
        ("image_path", pa.string()),
        ("label", pa.dictionary(pa.int32(), pa.string())),
        ("confidence", pa.float64()),
        ("author", pa.dictionary(pa.int32(), pa.string())),
    ]
)


@dataclass(frozen=True)
class Shape:
    """How large a catalog is."""

    images: int
    rows_an_image: int = 3

    @property
    def rows(self) -> int:
        return self.images * self.rows_an_image


def write_parquet(path: Path, shape: Shape) -> None:
    """A long Parquet catalog."""
    texts = ["label", "author"]  # Each path is there once; a dictionary of them would only cost.
    with pq.ParquetWriter(path, COLUMNS, use_dictionary=texts) as writer:
        for table in row_groups(shape):
            writer.write_table(table)


def write_csv(path: Path, shape: Shape) -> None:
    """The same catalog as CSV."""
    plain = pa.schema([(name, pa.string()) for name in COLUMNS.names])
    with pa.csv.CSVWriter(path, plain) as writer:
        for table in row_groups(shape):
            writer.write_table(table.cast(plain))


def row_groups(shape: Shape, seed: int = 0) -> Iterator[pa.Table]:
    """Tables of COLUMNS; rows of a picture are together, as exports of label tables have them."""
    share = (1 + np.arange(LABELS) / 30) ** -TAIL
    up_to = np.cumsum(share / share.sum())
    labels = pa.array([f"label {number:04d}" for number in range(LABELS)])
    images = max(GROUP_ROWS // shape.rows_an_image, 1)
    for first in range(0, shape.images, images):
        random = np.random.default_rng([seed, first])
        numbers = np.arange(first, min(first + images, shape.images), dtype=np.uint64)
        rows = np.repeat(np.arange(len(numbers)), shape.rows_an_image)
        drawn = np.searchsorted(up_to, random.random(len(rows)), "right").astype(np.int32)
        kind = random.random(len(rows))
        unsure = random.random(len(rows)).round(2)
        confidence = np.where(kind < ABSENT + UNSURE, np.where(kind < ABSENT, 0.0, unsure), 1.0)
        authors = (numbers // np.uint64(AUTHOR_PICTURES)).astype(np.int32)
        named = pa.array([f"author {number}" for number in range(authors[0], authors[-1] + 1)])
        columns = [
            names_of(numbers).take(pa.array(rows)),
            pa.DictionaryArray.from_arrays(np.minimum(drawn, LABELS - 1), labels),
            confidence,
            pa.DictionaryArray.from_arrays((authors - authors[0])[rows], named),
        ]
        yield pa.table(columns, schema=COLUMNS)
