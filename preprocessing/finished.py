"""Is a dataset finished? Asked of its manifest and of the sizes of its files, not of their bytes.

plan/files.parquet     FILES_SCHEMA, written just before the manifest
"""

import pyarrow as pa
from upath import UPath

from manylabel.preprocessing.planning.dataset_plan import (
    CLASSES_NAME,
    DUPLICATES_NAME,
    PLAN_DIRECTORY,
    PLAN_NAME,
    TOTALS_NAME,
    DatasetPlan,
)
from manylabel.storage.errors import DamagedDocumentError, TableError, UnreachableTableError
from manylabel.storage.listing import file_sizes
from manylabel.storage.manifest import (
    HELDOUT_IMAGES_NAME,
    LABELS_NAME,
    MANIFEST_NAME,
    REJECTED_NAME,
    Manifest,
)
from manylabel.storage.schema import SplitName
from manylabel.storage.tables import part_path, read_table, write_table

FILES_SCHEMA = pa.schema(
    [
        pa.field("path", pa.string(), nullable=False),
        pa.field("bytes", pa.int64(), nullable=False),
    ]
)
"""The files that a dataset consists of, with its plan; paths are relative to its directory."""

FILES_NAME = f"{PLAN_DIRECTORY}/files.parquet"


def find_finished(root: UPath, fingerprint: str, image_root: UPath) -> Manifest | None:
    """The manifest of a dataset of this input that has all its files; None for any other.

    Raises:
        OSError, UnreachableTableError: the storage failed, which says nothing about the dataset.
        OtherVersionError: another version of manylabel finished it.
    """
    plan = DatasetPlan.read_at(root)
    wanted = fingerprint, str(image_root)
    if plan is None or (plan.fingerprint, plan.image_root) != wanted:
        return None
    try:
        manifest = Manifest.read(root / MANIFEST_NAME)
        files = read_table(root / FILES_NAME, FILES_SCHEMA)
    except UnreachableTableError:
        raise
    except (DamagedDocumentError, TableError, FileNotFoundError):
        return None
    return manifest if files.equals(_present_files(root, plan)) else None


def note_files(root: UPath, plan: DatasetPlan) -> None:
    """Writes down what `find_finished` will look for."""
    write_table(root / FILES_NAME, _present_files(root, plan))


def _present_files(root: UPath, plan: DatasetPlan) -> pa.Table:
    shards = set(plan.names)
    tables = {LABELS_NAME, HELDOUT_IMAGES_NAME, REJECTED_NAME, DUPLICATES_NAME}
    tables |= {PLAN_NAME, TOTALS_NAME, CLASSES_NAME}
    # Of large tables, and of shards.
    parts = {str(part_path(name, 0).parent) for name in (REJECTED_NAME, DUPLICATES_NAME)}
    rows = sorted(
        (path, size)
        for directory in ("", PLAN_DIRECTORY, *SplitName, *parts)
        for name, size in file_sizes(root / directory).items()
        for path in [f"{directory}/{name}".lstrip("/")]
        if path in tables or directory in parts or name.partition(".")[0] in shards
    )
    paths, sizes = zip(*rows, strict=True) if rows else ((), ())
    return pa.table([paths, sizes], schema=FILES_SCHEMA)
