"""Phase one, as a graph on Beam: everything that is decided about a dataset, from keys alone.

What Beam moves are Arrow tables of many rows, cut into buckets of a hashed key; each function of
`decisions` sees a whole bucket at a time. Each picture is read and decoded once here, for its
perceptual hash and to find out whether it can be used at all; its pixels go no further. So every
rejection falls in this phase, before labels are counted, and the counts in `labels.parquet` are
exact.

Nothing depends on the order in which Beam delivers.
"""

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
from upath import UPath

from manylabel.preprocessing.catalogs import catalog_pieces, read_piece
from manylabel.preprocessing.config import HeldoutConfig, PreprocessingConfig
from manylabel.preprocessing.decisions.columns import column, numbers
from manylabel.preprocessing.decisions.components import group_edges
from manylabel.preprocessing.decisions.facts import apply_facts
from manylabel.preprocessing.decisions.hashing import hash_texts, mix
from manylabel.preprocessing.decisions.listing import merge_equal_files, merge_rows
from manylabel.preprocessing.decisions.looks import band_bucket, banded, look_edges
from manylabel.preprocessing.decisions.rows import clean_rows
from manylabel.preprocessing.decisions.split import (
    decide_sides,
    find_cut,
    place_components,
    qualifying_sizes,
    sort_by_place,
    surely_seen,
    unite_keys,
    with_place,
    with_token,
)
from manylabel.preprocessing.decisions.vocabulary import (
    build_classes,
    count_labels,
    drop_rare_labels,
    frequent_labels,
)
from manylabel.preprocessing.decisions.work_items import (
    Shards,
    Totals,
    count_sides,
    plan_images,
    shards_of,
    sum_totals,
    work_items,
)
from manylabel.preprocessing.pictures import checking
from manylabel.preprocessing.pictures.checking import CheckJob
from manylabel.preprocessing.planning import dataset_plan
from manylabel.preprocessing.planning.dataset_plan import DUPLICATES_NAME
from manylabel.preprocessing.progress import Stage
from manylabel.preprocessing.running import here
from manylabel.preprocessing.transport.beam import beam
from manylabel.preprocessing.transport.shuffle import Bucketed, Collect, PCollection, Shuffle, cut
from manylabel.storage.manifest import REJECTED_NAME

AsSingleton, AsMultiMap, AsList = (
    beam.pvalue.AsSingleton,
    beam.pvalue.AsMultiMap,
    beam.pvalue.AsList,
)
REJECTED, DUPLICATES, NAMES, LISTED = "rejected", "duplicates", "names", "listed"
Table = pa.Table

ROWS_PER_BUCKET = 400_000
MAX_BUCKETS = 256
"""A shuffle makes the square of their number of pieces: at 3 million rows, 64 buckets take a third
longer than 16."""


def bucket_count(rows: int) -> int:
    """Buckets for a catalog of so many rows."""
    return min(MAX_BUCKETS, 1 + rows // ROWS_PER_BUCKET)


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
            | f"Write {name}" >> WriteSorted(job.root, name, buckets)
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


@beam.ptransform_fn
def Split(images: PCollection, config: HeldoutConfig, buckets: int) -> PCollection:
    """Tables with a column `heldout`.

    A group is held out when its place is below the cut and each of its images has enough labels
    that training has seen. "Seen" is judged once, by what training has without any group below
    the cut; groups that fall short go back to training, which adds to what it has seen and so
    leaves all the others good.
    """
    groups = (
        images
        | "Place" >> Place(config, buckets)
        | "ByPlace" >> Shuffle(place_hash, buckets)
        | "Sort" >> beam.MapTuple(lambda _, table: sort_by_place(table)).with_output_types(Table)
    )
    cut_place = (
        groups
        | "Sizes" >> beam.Map(qualifying_sizes, config).with_output_types(Table)
        | "Cut" >> Collect(partial(find_cut, size=config.size)).with_output_types(int)
    )
    seen = (
        groups
        | "Above" >> beam.Map(surely_seen, AsSingleton(cut_place), config).with_output_types(Table)
        | "Seen" >> Collect(unite_keys).with_output_types(np.ndarray)
    )
    return groups | "Decide" >> beam.Map(
        decide_sides, AsSingleton(cut_place), AsSingleton(seen), config
    ).with_output_types(Table)


@beam.ptransform_fn
def Place(images: PCollection, config: HeldoutConfig, buckets: int) -> PCollection:
    """Tables with a column `place`: the hash of what may not be parted from an image."""
    tables = images | "Tables" >> beam.Values().with_output_types(Table)
    edges = [tables | "GroupEdges" >> beam.Map(group_edges).with_output_types(Table)]
    if config.duplicate_distance:  # Images of equal looks have the same token without an edge.
        edges.append(tables | "LookEdges" >> LookEdges(config.duplicate_distance, buckets))
    roots = (
        edges
        | "Edges" >> beam.Flatten()
        | "Components"
        >> Collect(partial(place_components, salt=config.salt)).with_output_types(Table)
        | "RootsByToken" >> beam.FlatMap(cut, token_hash, buckets).with_output_types(Bucketed)
    )
    return images | "Join" >> beam.Map(place_bucket, AsMultiMap(roots), config).with_output_types(
        Table
    )


def place_bucket(
    bucketed: Bucketed, roots: Mapping[int, Iterable[pa.Table]], config: HeldoutConfig
) -> pa.Table:
    """A step of `Place`."""
    bucket, images = bucketed
    return with_place(images, list(roots[bucket]), config)


@beam.ptransform_fn
def LookEdges(tables: PCollection, distance: int, buckets: int) -> PCollection:
    """Edges between looks that are near to each other."""
    return (
        tables
        | "Bands" >> beam.Map(banded, distance).with_output_types(Table)
        | "ByBand" >> Shuffle(partial(band_bucket, distance=distance), buckets)
        | "Near"
        >> beam.MapTuple(lambda _, table: look_edges(table, distance)).with_output_types(Table)
    )


@beam.ptransform_fn
def WritePlan(
    sided: PCollection,
    listed: PCollection,
    names: PCollection,
    config: PreprocessingConfig,
    root: UPath,
    buckets: int,
) -> PCollection:
    """Writes the classes, the totals and the work item of each shard that has an image."""
    classes = (
        sided
        | "CountLabels" >> beam.Map(count_labels).with_output_types(Table)
        | "Counted" >> Collect(list).with_output_types(list[pa.Table])
        | "Classes" >> beam.Map(build_classes, AsList(names)).with_output_types(Table)
    )
    totals = (
        sided
        | "CountSides" >> beam.Map(count_sides, config.heldout)
        | "Totals" >> Collect(sum_totals).with_output_types(Totals)
    )
    shards = totals | "Shards" >> beam.Map(shards_of, config.shards)
    listed_images = listed | "Listed" >> Collect(sum).with_output_types(int)
    classes | "WriteClasses" >> beam.Map(dataset_plan.write_planned_classes, root)
    totals | "WriteTotals" >> beam.Map(
        dataset_plan.write_totals, AsSingleton(shards), AsSingleton(listed_images), root
    )
    return (
        sided
        | "Plan"
        >> beam.Map(plan_images, AsSingleton(classes), AsSingleton(shards)).with_output_types(Table)
        | "ByShard" >> Shuffle(shard_number, buckets)
        | "WriteItems" >> beam.Map(write_items, AsSingleton(shards), AsSingleton(totals), root)
    )


def write_items(bucketed: Bucketed, shards: Shards, totals: Totals, root: UPath) -> None:
    """Writes the work items of a bucket."""
    _, planned = bucketed
    for shard, records in work_items(planned, shards):
        dataset_plan.write_planned(root, shard, records)
        here().meter.advance(Stage.PLAN_SHARDS, records.num_rows, totals.images)


@beam.ptransform_fn
def WriteSorted(tables: PCollection, root: UPath, name: str, buckets: int) -> PCollection:
    """One sorted Parquet file, also of no rows; many where one would be too large to sort."""
    rows = (
        tables
        | "Rows" >> beam.Map(lambda table: table.num_rows).with_output_types(int)
        | "Sum" >> Collect(sum).with_output_types(int)
    )
    few = tables | "Few" >> beam.FlatMap(
        lambda table, rows: [table] if rows <= dataset_plan.FEW_ROWS else [], AsSingleton(rows)
    ).with_output_types(Table)
    many = tables | "Many" >> beam.FlatMap(
        lambda table, rows: [table] if rows > dataset_plan.FEW_ROWS else [], AsSingleton(rows)
    ).with_output_types(Table)
    whole = few | "Whole" >> Collect(list).with_output_types(list[pa.Table])
    whole | "WriteWhole" >> beam.Map(dataset_plan.write_whole, AsSingleton(rows), root, name)
    return (
        many
        | "ByRow" >> Shuffle(first_text_hash, buckets)
        | "WriteParts" >> beam.MapTuple(partial(dataset_plan.write_part, root=root, name=name))
    )


def tagged(tag: str, table: pa.Table) -> Iterator[beam.pvalue.TaggedOutput]:
    """Under its tag, a table that has rows."""
    if table.num_rows:
        yield beam.pvalue.TaggedOutput(tag, table)


def image_hash(table: pa.Table) -> np.ndarray:
    """Key of a shuffle by image."""
    return hash_texts(column(table, "image"), "bucket")


def first_text_hash(table: pa.Table) -> np.ndarray:
    """Key of a shuffle by the first column."""
    return hash_texts(column(table, table.column_names[0]), "bucket")


def token_hash(table: pa.Table) -> np.ndarray:
    """Key of a shuffle by token."""
    return mix(numbers(table, "token"))


def place_hash(table: pa.Table) -> np.ndarray:
    """Key of a shuffle by group."""
    return mix(numbers(table, "place"))


def shard_number(table: pa.Table) -> np.ndarray:
    """Key of a shuffle by shard."""
    return numbers(table, "shard")
