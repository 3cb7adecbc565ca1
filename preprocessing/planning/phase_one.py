"""Phase one, as a graph on Beam: everything that is decided about a dataset, from keys alone.

What Beam moves are Arrow tables of many rows, cut into buckets of a hashed key; each function of
`decisions` sees a whole bucket at a time. Each picture is read and decoded once here, for its
perceptual hash and to find out whether it can be used at all; its pixels go no further. So every
rejection falls in this phase, before labels are counted, and the counts in `labels.parquet` are
exact.

Nothing depends on the order in which Beam delivers.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from manylabel.preprocessing.catalog_config import CatalogConfig
from manylabel.preprocessing.catalogs import (
    catalog_pieces,
    catalogs_of,
    label_parents,
    read_piece,
    root_spellings,
)
from manylabel.preprocessing.config import PreprocessingConfig
from manylabel.preprocessing.decisions.apart import by_side, with_side
from manylabel.preprocessing.decisions.columns import column, concat
from manylabel.preprocessing.decisions.facts import apply_facts
from manylabel.preprocessing.decisions.hashing import hash_texts
from manylabel.preprocessing.decisions.hierarchy import Hierarchy
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
from manylabel.preprocessing.planning.dataset_plan import NOT_WRITTEN
from manylabel.preprocessing.planning.outputs import (
    DUPLICATES,
    LISTED,
    NAMES,
    REJECTED,
    UNKNOWN,
    tagged,
)
from manylabel.preprocessing.planning.results import WriteParts, WritePlan, WriteUnknown
from manylabel.preprocessing.planning.sides import KeepApart, Split, token_hash
from manylabel.preprocessing.progress import Stage
from manylabel.preprocessing.running import here
from manylabel.preprocessing.transport.beam import beam
from manylabel.preprocessing.transport.shuffle import Bucketed, Collect, PCollection, Shuffle
from manylabel.storage.schema import SplitName

AsSingleton = beam.pvalue.AsSingleton
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
    catalogs = catalogs_of(config)
    listed = [
        list_images(pipeline, catalog, side if len(catalogs) > 1 else None, buckets)
        for side, catalog in catalogs.items()
    ]
    checked = together(listed, "images") | "Check" >> Check(job)
    unique = (
        checked.images
        | "Token" >> beam.Map(with_token, config.heldout).with_output_types(Table)
        | "ByToken" >> Shuffle(token_hash, buckets)
        | "MergeEqual"
        >> beam.FlatMapTuple(merge_equal)
        .with_output_types(Bucketed, **dict.fromkeys(DUPLICATES.values(), Table))
        .with_outputs(*DUPLICATES.values(), main="images")
    )
    names = together(listed, "names")
    if config.heldout.catalog is None:
        kept = unique.images | "KeepFrequent" >> KeepFrequent(config.labels.minimum_count)
        sided = kept.images | "Split" >> Split(config.heldout, buckets)
    else:
        kept = unique.images | "KeepApart" >> KeepApart(config, buckets)
        sided = kept["images"]
        kept[UNKNOWN] | "WriteUnknown" >> WriteUnknown(names, job.root)
    sided | "WritePlan" >> WritePlan(together(listed, "listed"), names, config, job.root, buckets)
    for each, side in zip(listed, catalogs, strict=True):
        tables, copies = NOT_WRITTEN[side]
        rejected = (*each.rejected, checked[REJECTED[side]], kept[REJECTED[side]])
        for name, sources in (
            (tables, rejected),
            (copies, (each.duplicates, unique[DUPLICATES[side]])),
        ):
            (
                sources
                | f"All of {name}" >> beam.Flatten()
                | f"Write {name}" >> WriteParts(job.root, name, buckets)
            )


@dataclass(frozen=True)
class ListedImages:
    """What the rows of a catalog amount to, each a collection; as `listing.MergedRows`.

    Attributes:
        rejected: Of images, and of labels alone.
    """

    images: PCollection
    rejected: tuple[PCollection, PCollection]
    duplicates: PCollection
    names: PCollection
    listed: PCollection


def list_images(
    pipeline: beam.Pipeline, catalog: CatalogConfig, side: SplitName | None, buckets: int
) -> ListedImages:
    """Reads a catalog; its images are marked with their side where another one lists the others."""
    title = f"{side}: " if side is not None else ""
    parents = label_parents(catalog)
    hierarchy = None if parents is None else Hierarchy.of(parents)
    rows = (
        pipeline
        | f"{title}Pieces" >> beam.Create(catalog_pieces(catalog))
        | f"{title}Spread" >> beam.Reshuffle()
        | f"{title}Read"
        >> beam.FlatMap(read_rows, catalog)
        .with_output_types(Table, rejected=Table)
        .with_outputs("rejected", main="rows")
    )
    merged = (
        rows.rows
        | f"{title}ByImage" >> Shuffle(image_hash, buckets)
        | f"{title}Merge"
        >> beam.FlatMapTuple(
            partial(merge, side=side, hierarchy=hierarchy, urls=catalog.http is not None)
        )
        .with_output_types(Bucketed, rejected=Table, duplicates=Table, names=Table, listed=int)
        .with_outputs("rejected", "duplicates", NAMES, LISTED, main="images")
    )
    return ListedImages(
        images=merged.images,
        rejected=(merged.rejected, rows.rejected),
        duplicates=merged.duplicates,
        names=merged.names,
        listed=merged.listed,
    )


def together(listed: list[ListedImages], part: str) -> PCollection:
    """A collection of all catalogs."""
    parts = tuple(getattr(each, part) for each in listed)
    return parts | f"All {part}" >> beam.Flatten() if len(parts) > 1 else parts[0]


def read_rows(piece: Any, catalog: CatalogConfig) -> Iterator[Any]:
    """Clean tables of rows, and under a tag the labels that cannot be used."""
    urls = catalog.http is not None
    roots = () if urls else root_spellings(catalog)
    for raw in read_piece(piece, catalog):
        rows, rejected = clean_rows(raw, urls=urls, roots=roots)
        here().meter.advance(Stage.SORT_ROWS, raw.num_rows)
        yield from tagged("rejected", rejected)
        yield rows


def merge(
    bucket: int, rows: pa.Table, side: SplitName | None, hierarchy: Hierarchy | None, urls: bool
) -> Iterator[Any]:
    """The images of a bucket of rows, and under tags all else that is known by then."""
    merged = merge_rows(rows, urls=urls, hierarchy=hierarchy)
    yield from tagged("rejected", merged.rejected)
    yield from tagged("duplicates", merged.duplicates)
    yield from tagged(NAMES, merged.label_names)
    yield beam.pvalue.TaggedOutput(LISTED, merged.listed)
    if merged.images.num_rows:
        images = merged.images
        if side is not None:
            images = with_side(images, heldout=side is SplitName.HELDOUT)
        yield bucket, images


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
    tags = REJECTED.values()
    return images | "Look" >> beam.FlatMap(check, AsSingleton(total), job).with_output_types(
        Table, **dict.fromkeys(tags, Table)
    ).with_outputs(*tags, main="images")


def check(bucketed: Bucketed, total: int, job: CheckJob) -> Iterator[Any]:
    """A step of `Check`; the images of a table are of one catalog."""
    bucket, images = bucketed
    here().meter.advance(Stage.CHECK_IMAGES, 0, total)
    for side, mine in by_side(images):
        facts = checking.check_bucket(bucket, column(mine, "image_id"), job, side)
        checked, rejected = apply_facts(mine, facts)
        yield from tagged(REJECTED[side], rejected)
        if checked.num_rows:
            yield checked


def merge_equal(bucket: int, images: pa.Table) -> Iterator[Any]:
    """One image for equal files of a catalog, and DUPLICATES."""
    kept = []
    for side, mine in by_side(images):
        merged, duplicates = merge_equal_files(mine)
        yield from tagged(DUPLICATES[side], duplicates)
        kept.append(merged)
    here().meter.advance(Stage.FIND_DUPLICATES, images.num_rows)
    yield bucket, concat(kept)


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
    ).with_output_types(Bucketed, rejected=Table).with_outputs("rejected", main="images")


def keep_frequent(bucketed: Bucketed, frequent: np.ndarray, minimum: int) -> Iterator[Any]:
    """A step of `KeepFrequent`."""
    bucket, images = bucketed
    images, rejected = drop_rare_labels(images, frequent, minimum)
    yield from tagged(REJECTED[SplitName.TRAIN], rejected)
    if images.num_rows:
        yield bucket, images


def image_hash(table: pa.Table) -> np.ndarray:
    """Key of a shuffle by image."""
    return hash_texts(column(table, "image"), "bucket")
