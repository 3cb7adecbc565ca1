"""Phase one, as a graph on Beam: everything that is decided about a dataset, from keys alone.

What Beam moves are Arrow tables of many rows, cut into buckets of a hashed key; each function of
`decisions` sees a whole bucket at a time. Each picture is read and decoded once here, for its
perceptual hash and to find out whether it can be used at all; its pixels go no further. So every
rejection falls in this phase, before labels are counted, and the counts in `labels.parquet` are
exact.

Nothing depends on the order in which Beam delivers.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from manylabel.preprocessing.catalogs import catalog_pieces, read_piece
from manylabel.preprocessing.config import PreprocessingConfig
from manylabel.preprocessing.decisions.columns import column
from manylabel.preprocessing.decisions.facts import apply_facts
from manylabel.preprocessing.decisions.hashing import hash_texts
from manylabel.preprocessing.decisions.listing import merge_equal_files, merge_rows
from manylabel.preprocessing.decisions.rows import clean_rows
from manylabel.preprocessing.decisions.split import (
    with_token,
)
from manylabel.preprocessing.decisions.vocabulary import (
    count_labels,
    drop_rare_labels,
    frequent_labels,
)
from manylabel.preprocessing.pictures import checking
from manylabel.preprocessing.pictures.checking import CheckJob
from manylabel.preprocessing.planning.dataset_plan import DUPLICATES_NAME
from manylabel.preprocessing.planning.results import WriteParts, WritePlan
from manylabel.preprocessing.planning.sides import Split, token_hash
from manylabel.preprocessing.progress import Stage
from manylabel.preprocessing.running import here
from manylabel.preprocessing.transport.beam import beam
from manylabel.preprocessing.transport.shuffle import Bucketed, Collect, PCollection, Shuffle
from manylabel.storage.manifest import REJECTED_NAME

AsSingleton = beam.pvalue.AsSingleton
REJECTED, DUPLICATES, NAMES, LISTED = "rejected", "duplicates", "names", "listed"
Table = pa.Table

ROWS_PER_BUCKET = 400_000
MANY_BUCKETS = 256
"""A shuffle makes the square of their number of pieces: at 3 million rows, 64 buckets take a third
longer than 16. So buckets grow when there are many of them."""

MOST_ROWS_PER_BUCKET = 4_000_000
"""A column of texts has at most 2 GiB in Arrow: paths of 500 bytes, and 200 MB of memory for a
column of usual ones."""


def bucket_count(rows: int) -> int:
    """Buckets for a catalog of so many rows."""
    few = min(MANY_BUCKETS, 1 + rows // ROWS_PER_BUCKET)
    return max(few, 1 + rows // MOST_ROWS_PER_BUCKET)


def plan_dataset(
    pipeline: beam.Pipeline, config: PreprocessingConfig, job: CheckJob, buckets: int
) -> None:
    """Adds the whole of phase one to a pipeline; its results are files below `job.root`."""
    rows = (
        pipeline
        | "Pieces" >> beam.Create(catalog_pieces(config.catalog))
        | "Spread" >> beam.Reshuffle()
        | "Read"
        >> beam.FlatMap(read_rows, config)
        .with_output_types(Table, rejected=Table)
        .with_outputs(REJECTED, main="rows")
    )
    merged = (
        rows.rows
        | "ByImage" >> Shuffle(image_hash, buckets)
        | "Merge"
        >> beam.FlatMapTuple(merge)
        .with_output_types(Bucketed, rejected=Table, duplicates=Table, names=Table, listed=int)
        .with_outputs(REJECTED, DUPLICATES, NAMES, LISTED, main="images")
    )
    checked = merged.images | "Check" >> Check(job)
    unique = (
        checked.images
        | "Token" >> beam.Map(with_token, config.heldout).with_output_types(Table)
        | "ByToken" >> Shuffle(token_hash, buckets)
        | "MergeEqual"
        >> beam.FlatMapTuple(merge_equal)
        .with_output_types(Bucketed, duplicates=Table)
        .with_outputs(DUPLICATES, main="images")
    )
    kept = unique.images | "KeepFrequent" >> KeepFrequent(config.labels.minimum_count)
    sided = kept.images | "Split" >> Split(config.heldout, buckets)
    sided | "WritePlan" >> WritePlan(merged.listed, merged.names, config, job.root, buckets)
    rejected = (rows.rejected, merged.rejected, checked.rejected, kept.rejected)
    duplicates = (merged.duplicates, unique.duplicates)
    for name, sources in ((REJECTED_NAME, rejected), (DUPLICATES_NAME, duplicates)):
        (
            sources
            | f"All of {name}" >> beam.Flatten()
            | f"Write {name}" >> WriteParts(job.root, name, buckets)
        )


def read_rows(piece: Any, config: PreprocessingConfig) -> Iterator[Any]:
    """Clean tables of rows, and under a tag the labels that cannot be used."""
    for raw in read_piece(piece, config.catalog):
        rows, rejected = clean_rows(raw)
        here().meter.advance(Stage.SORT_ROWS, raw.num_rows)
        yield from tagged(REJECTED, rejected)
        yield rows


def merge(bucket: int, rows: pa.Table) -> Iterator[Any]:
    """The images of a bucket of rows, and under tags all else that is known by then."""
    merged = merge_rows(rows)
    yield from tagged(REJECTED, merged.rejected)
    yield from tagged(DUPLICATES, merged.duplicates)
    yield from tagged(NAMES, merged.label_names)
    yield beam.pvalue.TaggedOutput(LISTED, merged.listed)
    if merged.images.num_rows:
        yield bucket, merged.images


@beam.ptransform_fn
def Check(images: PCollection, job: CheckJob) -> PCollection:
    """Tables of the images that can be used, with what their files say, and REJECTED.

    None is looked at before all are known: so it can be said how many there are.
    """
    total = (
        images
        | "Rows" >> beam.MapTuple(lambda _, table: table.num_rows).with_output_types(int)
        | "Total" >> Collect(sum).with_output_types(int)
    )
    return images | "Look" >> beam.FlatMap(check, AsSingleton(total), job).with_output_types(
        Table, rejected=Table
    ).with_outputs(REJECTED, main="images")


def check(bucketed: Bucketed, total: int, job: CheckJob) -> Iterator[Any]:
    """A step of `Check`."""
    bucket, images = bucketed
    here().meter.advance(Stage.CHECK_IMAGES, 0, total)
    facts = checking.check_bucket(bucket, column(images, "image_id"), job)
    checked, rejected = apply_facts(images, facts)
    yield from tagged(REJECTED, rejected)
    if checked.num_rows:
        yield checked


def merge_equal(bucket: int, images: pa.Table) -> Iterator[Any]:
    """One image for equal files, and DUPLICATES."""
    kept, duplicates = merge_equal_files(images)
    here().meter.advance(Stage.FIND_DUPLICATES, images.num_rows)
    yield from tagged(DUPLICATES, duplicates)
    yield bucket, kept


@beam.ptransform_fn
def KeepFrequent(images: PCollection, minimum: int) -> PCollection:
    """Images with their frequent labels only, and REJECTED: those that have none left."""
    frequent = (
        images
        | "Count" >> beam.MapTuple(lambda _, table: count_labels(table)).with_output_types(Table)
        | "Frequent"
        >> Collect(partial(frequent_labels, minimum=minimum)).with_output_types(np.ndarray)
    )
    return images | "Drop" >> beam.FlatMap(
        keep_frequent, AsSingleton(frequent), minimum
    ).with_output_types(Bucketed, rejected=Table).with_outputs(REJECTED, main="images")


def keep_frequent(bucketed: Bucketed, frequent: np.ndarray, minimum: int) -> Iterator[Any]:
    """A step of `KeepFrequent`."""
    bucket, images = bucketed
    images, rejected = drop_rare_labels(images, frequent, minimum)
    yield from tagged(REJECTED, rejected)
    if images.num_rows:
        yield bucket, images


def tagged(tag: str, table: pa.Table) -> Iterator[beam.pvalue.TaggedOutput]:
    """Under its tag, a table that has rows."""
    if table.num_rows:
        yield beam.pvalue.TaggedOutput(tag, table)


def image_hash(table: pa.Table) -> np.ndarray:
    """Key of a shuffle by image."""
    return hash_texts(column(table, "image"), "bucket")
