"""Bringing rows of equal keys together, as tables of many rows.

A key is hashed, and a hash belongs to one of a number of buckets. What a step decides about the
rows of a key it decides for all keys of a bucket at once.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from manylabel.preprocessing.decisions.columns import concat
from manylabel.preprocessing.transport.beam import beam
from manylabel.preprocessing.transport.coder import TableCoder  # noqa: F401  registered there

PCollection = Any
"""beam.PCollection; mypy does not analyse Beam."""

Bucketed = tuple[int, pa.Table]
"""The number of a bucket, and a table of rows that belong there."""

Hashes = Callable[[pa.Table], np.ndarray]
"""The uint64 hash of each row's key."""


@beam.ptransform_fn
def Shuffle(tables: PCollection, key: Hashes, buckets: int) -> PCollection:
    """`Bucketed` tables, one for each bucket that has rows: rows of equal keys are in one table."""
    return (
        tables
        | "Cut" >> beam.FlatMap(cut, key, buckets).with_output_types(Bucketed)
        | "Group" >> beam.GroupByKey()
        | "Join" >> beam.MapTuple(join).with_output_types(Bucketed)
    )


def cut(table: pa.Table, key: Hashes, buckets: int) -> Iterator[Bucketed]:
    """The rows of a table that belong to each bucket, in their order."""
    numbers = (key(table) % np.uint64(buckets)).astype(np.uint16)
    ordered = table.take(pa.array(np.argsort(numbers, kind="stable")))
    ends = np.cumsum(np.bincount(numbers, minlength=buckets)).tolist()
    for bucket, (start, end) in enumerate(zip([0, *ends], ends, strict=False)):
        if end > start:
            yield bucket, ordered.slice(start, end - start)


def join(bucket: int, pieces: Iterable[pa.Table]) -> Bucketed:
    """The pieces of a bucket as one table, in the order in which they came."""
    return bucket, concat(pieces)


@beam.ptransform_fn
def Collect(elements: PCollection, function: Callable[[list[Any]], Any]) -> PCollection:
    """One value made of all elements, also of none.

    As a side input, because a global combine does the same with ten transforms more, and half of
    a small job's time is Beam building its graph.
    """
    everything = beam.pvalue.AsList(elements)
    return elements.pipeline | beam.Impulse() | beam.Map(lambda _, all_: function(all_), everything)
