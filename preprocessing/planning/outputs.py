"""Tags of what phase one's steps give beside their tables of images."""

from collections.abc import Iterator

import pyarrow as pa

from manylabel.preprocessing.transport.beam import beam
from manylabel.storage.schema import SplitName

REJECTED = {SplitName.TRAIN: "rejected", SplitName.HELDOUT: "heldout_rejected"}
DUPLICATES = {SplitName.TRAIN: "duplicates", SplitName.HELDOUT: "heldout_duplicates"}
"""Each by the side of the catalog that lists the images."""

NAMES, LISTED, UNKNOWN = "names", "listed", "unknown"


def tagged(tag: str, table: pa.Table) -> Iterator[beam.pvalue.TaggedOutput]:
    """Under its tag, a table that has rows."""
    if table.num_rows:
        yield beam.pvalue.TaggedOutput(tag, table)
