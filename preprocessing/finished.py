"""Finishing a dataset, and finding that one is: by its manifest and the sizes of its files, not by
their bytes.

plan/files.parquet     FILES_SCHEMA, written just before the manifest
"""

from collections.abc import Mapping

import pyarrow as pa
from upath import UPath

from manylabel.preprocessing.errors import PreprocessingError
from manylabel.preprocessing.pictures.checking import Pictures
from manylabel.preprocessing.planning.dataset_plan import (
    CLASSES_NAME,
    NOT_WRITTEN,
    PLAN_DIRECTORY,
    PLAN_NAME,
    TOTALS_NAME,
    DatasetPlan,
)
from manylabel.preprocessing.rejections import LABEL_REASONS
from manylabel.preprocessing.report import count_rejections
from manylabel.storage.errors import (
    DamagedDocumentError,
    DocumentError,
    TableError,
    UnreachableTableError,
)
from manylabel.storage.listing import file_sizes
from manylabel.storage.manifest import (
    HELDOUT_IMAGES_NAME,
    LABELS_NAME,
    MANIFEST_NAME,
    UNKNOWN_LABELS_NAME,
    ImageCounts,
    Manifest,
    RecordShard,
    SplitShards,
    content_digest,
    table_digest,
)
from manylabel.storage.provenance import code_version
from manylabel.storage.schema import LABELS_SCHEMA, SplitName
from manylabel.storage.tables import count_rows, part_path, read_table, table_parts, write_table

FILES_SCHEMA = pa.schema(
    [
        pa.field("path", pa.string(), nullable=False),
        pa.field("bytes", pa.int64(), nullable=False),
    ]
)
"""The files that a dataset consists of, with its plan; paths are relative to its directory."""

FILES_NAME = f"{PLAN_DIRECTORY}/files.parquet"


def find_finished(
    root: UPath, fingerprint: str, image_roots: Mapping[SplitName, Pictures]
) -> Manifest | None:
    """The manifest of a dataset of this input that has all its files; None for any other.

    Raises:
        OSError, UnreachableTableError: the storage failed, which says nothing about the dataset.
        OtherVersionError: another version of manylabel finished it.
    """
    plan = DatasetPlan.read_at(root)
    wanted = fingerprint, {side: str(image_root) for side, image_root in image_roots.items()}
    if plan is None or (plan.fingerprint, plan.image_roots) != wanted:
        return None
    try:
        manifest = Manifest.read(root / MANIFEST_NAME)
        files = read_table(root / FILES_NAME, FILES_SCHEMA)
    except UnreachableTableError:
        raise
    except (DamagedDocumentError, TableError, FileNotFoundError):
        return None
    return manifest if files.equals(_present_files(root, plan)) else None


def finish(
    plan: DatasetPlan, shards: dict[str, RecordShard], settings: dict[str, object], root: UPath
) -> Manifest:
    """Checks that no image was lost or counted twice, then writes the manifest."""
    splits = {}
    for split in SplitName:
        files = tuple(shards[name] for name in plan.shards[split])
        splits[str(split)] = SplitShards(shards=files, records=sum(file.records for file in files))
    written = sum(split.records for split in splits.values())
    rejected = sum(_rejected_images(root, side) for side in plan.image_roots)
    duplicates = sum(_duplicates(root, side) for side in plan.image_roots)
    if plan.listed != written + rejected + duplicates:
        raise PreprocessingError(
            f"{root}: {plan.listed} images are listed, but {written} written + "
            f"{rejected} rejected + {duplicates} duplicates; this is an error in "
            "the program, so the dataset is not marked as complete"
        )
    counts = ImageCounts(
        listed=plan.listed, written=written, rejected=rejected, duplicates=duplicates
    )
    labels = read_table(root / LABELS_NAME, LABELS_SCHEMA)
    manifest = Manifest(
        content_digest=content_digest(splits, table_digest(labels)),
        labels_digest=table_digest(labels),
        fingerprint=plan.fingerprint,
        code_version=code_version(),
        settings=settings,
        counts=counts,
        splits=splits,
        num_classes=labels.num_rows,
    )
    note_files(root, plan)
    present = read_manifest(root)
    if present and present.model_copy(update={"code_version": manifest.code_version}) == manifest:
        return present  # What it says of who finished the dataset stays true.
    manifest.write(root / MANIFEST_NAME)
    return manifest


def _rejected_images(root: UPath, side: SplitName) -> int:
    rejected = count_rejections(root, side)
    return sum(count for reason, count in rejected.items() if reason not in LABEL_REASONS)


def _duplicates(root: UPath, side: SplitName) -> int:
    _, name = NOT_WRITTEN[side]
    return sum(count_rows(part) for part in table_parts(root / name))


def read_manifest(root: UPath) -> Manifest | None:
    """The one that is there, if it can be read."""
    try:
        return Manifest.read(root / MANIFEST_NAME)
    except (FileNotFoundError, DocumentError):
        return None


def note_files(root: UPath, plan: DatasetPlan) -> None:
    """Writes down what `find_finished` will look for."""
    write_table(root / FILES_NAME, _present_files(root, plan))


def _present_files(root: UPath, plan: DatasetPlan) -> pa.Table:
    shards = set(plan.names)
    not_written = {name for side in plan.image_roots for name in NOT_WRITTEN[side]}
    tables = {LABELS_NAME, HELDOUT_IMAGES_NAME, UNKNOWN_LABELS_NAME, *not_written}
    tables |= {PLAN_NAME, TOTALS_NAME, CLASSES_NAME}
    # Of large tables, and of shards.
    parts = {str(part_path(name, 0).parent) for name in not_written}
    rows = sorted(
        (path, size)
        for directory in ("", PLAN_DIRECTORY, *SplitName, *parts)
        for name, size in file_sizes(root / directory).items()
        for path in [f"{directory}/{name}".lstrip("/")]
        if path in tables or directory in parts or name.partition(".")[0] in shards
    )
    paths, sizes = zip(*rows, strict=True) if rows else ((), ())
    return pa.table([paths, sizes], schema=FILES_SCHEMA)
