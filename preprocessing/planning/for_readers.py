"""The tables that phase one makes of the plan for whoever reads the dataset."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from upath import UPath

from manylabel.preprocessing.decisions.columns import column, concat
from manylabel.preprocessing.decisions.work_items import PLAN_SCHEMA
from manylabel.preprocessing.planning.dataset_plan import plan_path
from manylabel.storage.schema import HELDOUT_IMAGES_SCHEMA, LABELS_SCHEMA
from manylabel.storage.tables import read_table


def labels_table(classes: pa.Table) -> pa.Table:
    """LABELS_SCHEMA, from the classes of the plan (`read_planned_classes`)."""
    train_count = column(classes, "train_count")
    columns = {
        "class_id": pa.array(np.arange(classes.num_rows)),
        "name": column(classes, "name"),
        "train_count": train_count,
        "heldout_count": column(classes, "heldout_count"),
        "train_share": pc.divide(
            train_count.cast(pa.float64()), float(pc.sum(train_count).as_py())
        ),
    }
    return pa.table(columns, schema=LABELS_SCHEMA)


def heldout_images_table(shards: Sequence[str], root: UPath) -> pa.Table:
    """HELDOUT_IMAGES_SCHEMA, from the work items of the held-out shards.

    Sorted by image; groups are numbered as they come.

    Raises:
        TableError: a work item is missing or damaged.
    """
    parts = [(shard, read_table(plan_path(root, shard), PLAN_SCHEMA)) for shard in shards]
    images = concat([PLAN_SCHEMA.empty_table(), *(part for _, part in parts)])
    names = [pa.repeat(shard, part.num_rows) for shard, part in parts]
    places = [pa.array(np.arange(part.num_rows)) for _, part in parts]
    images = images.append_column("shard", pa.chunked_array(names, pa.string()))
    images = images.append_column("place", pa.chunked_array(places, pa.int64()))
    images = images.sort_by("image_id")
    group = column(images, "near_duplicate_group").dictionary_encode().indices.cast(pa.int64())
    columns = {
        "image_row": pa.array(np.arange(images.num_rows)),
        "image_id": column(images, "image_id"),
        "near_duplicate_group": group,
        "shard": column(images, "shard"),
        "place": column(images, "place"),
    }
    return pa.table(columns, schema=HELDOUT_IMAGES_SCHEMA)
