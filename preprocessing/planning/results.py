"""The part of phase one's graph that writes: the files of the plan, and the tables beside it."""

from functools import partial

import numpy as np
import pyarrow as pa
from upath import UPath

from manylabel.preprocessing.config import PreprocessingConfig
from manylabel.preprocessing.decisions.apart import sum_unknown
from manylabel.preprocessing.decisions.columns import column, numbers
from manylabel.preprocessing.decisions.hashing import hash_texts
from manylabel.preprocessing.decisions.vocabulary import (
    build_classes,
    count_labels,
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
from manylabel.preprocessing.planning import dataset_plan
from manylabel.preprocessing.progress import Stage
from manylabel.preprocessing.running import here
from manylabel.preprocessing.transport.beam import beam
from manylabel.preprocessing.transport.shuffle import Bucketed, Collect, PCollection, Shuffle

AsList, AsSingleton = beam.pvalue.AsList, beam.pvalue.AsSingleton
Table = pa.Table


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


@beam.ptransform_fn
def WriteUnknown(unknown: PCollection, names: PCollection, root: UPath) -> PCollection:
    """Writes which labels of held-out images training does not know."""
    return (
        unknown
        | "Counted" >> Collect(list).with_output_types(list[pa.Table])
        | "Named" >> beam.Map(sum_unknown, AsList(names)).with_output_types(Table)
        | "Write" >> beam.Map(dataset_plan.write_unknown_labels, root)
    )


def write_items(bucketed: Bucketed, shards: Shards, totals: Totals, root: UPath) -> None:
    """Writes the work items of a bucket."""
    _, planned = bucketed
    for shard, records in work_items(planned, shards):
        dataset_plan.write_planned(root, shard, records)
        here().meter.advance(Stage.PLAN_SHARDS, records.num_rows, totals.images)


@beam.ptransform_fn
def WriteParts(tables: PCollection, root: UPath, name: str, buckets: int) -> PCollection:
    """Writes a table in sorted parts; see `dataset_plan.join_parts`."""
    return (
        tables
        | "ByRow" >> Shuffle(first_text_hash, buckets)
        | "Write" >> beam.MapTuple(partial(dataset_plan.write_part, root=root, name=name))
    )


def first_text_hash(table: pa.Table) -> np.ndarray:
    """Key of a shuffle by the first column."""
    return hash_texts(column(table, table.column_names[0]), "bucket")


def shard_number(table: pa.Table) -> np.ndarray:
    """Key of a shuffle by shard."""
    return numbers(table, "shard")
