"""What the files of images said, brought to the images."""

import pyarrow as pa
import pyarrow.compute as pc

from manylabel.preprocessing.decisions.columns import column
from manylabel.storage.schema import REJECTED_SCHEMA

_OF_USABLE = ("digest", "look", "stored_bytes")


def apply_facts(images: pa.Table, facts: pa.Table) -> tuple[pa.Table, pa.Table]:
    """The images that can be used, as CHECKED, and the rejections of the others.

    Args:
        facts: `checking.FACTS_SCHEMA`, a row for each image, in the order of the images.
    """
    bad = column(facts, "reason").is_valid()
    good = pc.invert(bad)
    checked = images.filter(good)
    for name in _OF_USABLE:
        checked = checked.append_column(name, column(facts, name).filter(good))
    rejected = [column(facts, name).filter(bad) for name in ("image_id", "reason", "detail")]
    return checked, pa.table(rejected, schema=REJECTED_SCHEMA)
