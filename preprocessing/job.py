"""The preprocessing job: catalog in, dataset out.

Phase one (phase_one.py) decides everything and writes the plan; phase two (phase_two.py) writes one
shard per work item; the manifest comes last. Each step is skipped when its result is there already.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from upath import UPath

from manylabel.preprocessing.catalogs import (
    catalog_digest,
    catalog_path,
    count_rows,
    detect_format,
    image_root,
)
from manylabel.preprocessing.config import CatalogConfig, CatalogFormat, PreprocessingConfig
from manylabel.preprocessing.errors import PreprocessingError
from manylabel.preprocessing.executors import open_executor
from manylabel.preprocessing.fingerprint import compute_fingerprint
from manylabel.preprocessing.finished import find_finished, note_files
from manylabel.preprocessing.output import Owner, claim, remove_leftovers, remove_other_shards
from manylabel.preprocessing.pictures.checking import CheckJob
from manylabel.preprocessing.planning.dataset_plan import (
    DUPLICATES_NAME,
    DatasetPlan,
    read_totals,
)
from manylabel.preprocessing.planning.make_plan import make_plan, moved_plan
from manylabel.preprocessing.progress import Meter, ProgressListener, Stage, reporting
from manylabel.preprocessing.rejections import LABEL_REASONS, RETRYABLE, RejectReason
from manylabel.preprocessing.running import here, running
from manylabel.preprocessing.transport.runner import check_runner
from manylabel.preprocessing.writing.phase_two import find_shards, write_shards
from manylabel.storage.errors import DocumentError
from manylabel.storage.locations import is_local
from manylabel.storage.manifest import (
    LABELS_NAME,
    MANIFEST_NAME,
    REJECTED_NAME,
    ImageCounts,
    Manifest,
    RecordShard,
    SplitShards,
    content_digest,
    table_digest,
)
from manylabel.storage.provenance import code_version
from manylabel.storage.schema import LABELS_SCHEMA, SplitName
from manylabel.storage.tables import count_rows as table_rows
from manylabel.storage.tables import count_values, part_path, read_table, table_parts


@dataclass(frozen=True)
class PreprocessingReport:
    """What a run did.

    Attributes:
        dataset: The output directory.
        content_digest: Of the dataset.
        counts: Images, as in the manifest.
        rejected: Rows of `rejected.parquet` by reason, the rejected labels of accepted images
            included.
        rejected_table: Where they are: that file, or a folder of parts.
        retried: Rejected images of an earlier run that were looked at again.
        retryable: Rejected images whose files were missing or broken.
        left_out: Files and folders that a folder catalog does not list, by name.
        large_groups, large_group_images: Groups that are too large to be held out.
        images: Records on each side.
        heldout_size: What was asked for, see `HeldoutConfig.size`.
        num_classes: Rows of `labels.parquet`.
        nothing_to_do: The dataset was there, finished and whole.
        shards_written: By this run.
        shards_kept: Found complete.
        verified: Every byte of the shards that were kept was read.
        seconds: Wall time.
    """

    dataset: str
    content_digest: str
    counts: ImageCounts
    rejected: dict[RejectReason, int]
    rejected_table: str
    retried: int
    retryable: int
    left_out: Mapping[str, int]
    large_groups: int
    large_group_images: int
    images: dict[SplitName, int]
    heldout_size: float
    num_classes: int
    nothing_to_do: bool
    shards_written: int
    shards_kept: int
    verified: bool
    seconds: float


@dataclass(frozen=True)
class _Result:
    """As the report's; `found` is its `nothing_to_do`."""

    manifest: Manifest
    found: bool
    written: int
    kept: int


def preprocess(
    config: PreprocessingConfig,
    output: str,
    *,
    overwrite: bool = False,
    verify: bool = False,
    retry_rejected: bool = False,
    progress: ProgressListener | None = None,
) -> PreprocessingReport:
    """Makes the dataset of `config` at `output`, or as much of it as is missing there.

    One at a time in a process; others may run in other processes.

    Args:
        config: All settings.
        output: Directory of the dataset; new, empty, or of an earlier run.
        overwrite: Delete a dataset of other settings or another catalog that is there.
        verify: Read every byte of the shards that are there, and write damaged ones again; else
            sizes are compared.
        retry_rejected: Look again at images whose files were missing or broken.
        progress: Called while the job runs, from another thread.

    Raises:
        PreprocessingError: wrong input, named in one line. Single images that cannot be used are
            no errors: they are in `rejected.parquet`.
        StorageError: a file of the dataset is of another version, or cannot be read now.
    """
    started = time.monotonic()
    meter = Meter()
    with reporting(meter, progress or _ignore), _storage_named(output):
        check_runner(config.runner)
        root = UPath(output)
        images = image_root(config.catalog)
        _check_output_outside(config, root)
        meter.begin(Stage.READ_CATALOG)
        digest = catalog_digest(config.catalog, partial(_read_bytes, meter))
        rows = None
        if overwrite or DatasetPlan.read_at(root) is None:
            # To its end, before a dataset is touched or a directory made.
            rows = _count_rows(config.catalog, meter)
        _check_pictures_there(images)
        owner = Owner(
            fingerprint=compute_fingerprint(config, digest),
            settings=config.model_dump(mode="json", exclude={"executor", "runner"}),
        )
        job = CheckJob(images, config.images, root, retry=retry_rejected)
        with claim(root, owner, overwrite=overwrite):
            retried = _retryable(root) if retry_rejected else 0
            finished = find_finished(root, owner.fingerprint, images)
            if finished is not None and not verify and not retried:
                kept = sum(len(split.shards) for split in finished.splits.values())
                result = _Result(finished, found=True, written=0, kept=kept)
            else:
                with open_executor(config) as executor, running(executor, meter):
                    result = _work(config, owner, job, rows, verify=verify, retry=retried > 0)
            rejected = _rejections(root)
            totals = read_totals(root)
    manifest = result.manifest
    return PreprocessingReport(
        dataset=str(root),
        content_digest=manifest.content_digest,
        counts=manifest.counts,
        rejected=rejected,
        rejected_table=_rejected_table(root),
        retried=retried,
        retryable=sum(rejected.get(reason, 0) for reason in RETRYABLE),
        left_out=digest.left_out,
        large_groups=totals.large_groups,
        large_group_images=totals.large_group_images,
        images={split: manifest.splits[split].records for split in SplitName},
        heldout_size=config.heldout.size,
        num_classes=manifest.num_classes,
        nothing_to_do=result.found,
        shards_written=result.written,
        shards_kept=result.kept,
        verified=verify,
        seconds=time.monotonic() - started,
    )


def _work(
    config: PreprocessingConfig,
    owner: Owner,
    job: CheckJob,
    rows: int | None,
    *,
    verify: bool,
    retry: bool,
) -> _Result:
    """Everything that may take long."""
    root = job.root
    here().meter.begin(Stage.FIND_PLAN)
    before = _manifest(root)
    plan = None if retry else DatasetPlan.find(root)
    if plan is None or plan.fingerprint != owner.fingerprint:
        rows = rows if rows is not None else _count_rows(config.catalog, here().meter)
        plan = make_plan(config, owner.fingerprint, job, rows)
    elif plan.image_root != str(job.image_root):
        plan = moved_plan(plan, job)
    remove_other_shards(root, set(plan.names))
    kept = find_shards(plan, root, verify=verify)
    missing = [name for name in plan.names if name not in kept]
    written = write_shards(missing, config, job.image_root, root) if missing else {}
    remove_leftovers(root)
    manifest = _finish(plan, kept | written, owner.settings, root)
    found = before is not None and before.content_digest == manifest.content_digest
    return _Result(manifest, found and not written, written=len(written), kept=len(kept))


def _finish(
    plan: DatasetPlan, shards: dict[str, RecordShard], settings: dict[str, object], root: UPath
) -> Manifest:
    """Checks that no image was lost or counted twice, then writes the manifest."""
    splits = {}
    for split in SplitName:
        files = tuple(shards[name] for name in plan.shards[split])
        splits[str(split)] = SplitShards(shards=files, records=sum(file.records for file in files))
    counts = ImageCounts(
        listed=plan.listed,
        written=sum(split.records for split in splits.values()),
        rejected=sum(n for reason, n in _rejections(root).items() if reason not in LABEL_REASONS),
        duplicates=sum(table_rows(part) for part in table_parts(root / DUPLICATES_NAME)),
    )
    if counts.listed != counts.written + counts.rejected + counts.duplicates:
        raise PreprocessingError(
            f"{root}: {counts.listed} images are listed, but {counts.written} written + "
            f"{counts.rejected} rejected + {counts.duplicates} duplicates; this is an error in "
            "the program, so the dataset is not marked as complete"
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
    present = _manifest(root)
    if present and present.model_copy(update={"code_version": manifest.code_version}) == manifest:
        return present  # What it says of who finished the dataset stays true.
    manifest.write(root / MANIFEST_NAME)
    return manifest


def _manifest(root: UPath) -> Manifest | None:
    """The one that is there, if it can be read."""
    try:
        return Manifest.read(root / MANIFEST_NAME)
    except (FileNotFoundError, DocumentError):
        return None


def _check_output_outside(config: PreprocessingConfig, root: UPath) -> None:
    """A dataset inside the folder that is its catalog would list itself the next time."""
    folder = catalog_path(config.catalog)
    is_folder = detect_format(config.catalog) is CatalogFormat.FOLDER
    if is_folder and config.catalog.group_column is not None:
        raise PreprocessingError(
            f"{config.catalog.path}: a folder has no columns, received "
            "preprocessing.catalog.group_column; remove that setting, or list the images in a CSV "
            "or Parquet file"
        )
    if is_folder and root.resolve().is_relative_to(folder.resolve()):
        raise PreprocessingError(
            f"{root}: lies inside the catalog folder {folder}; choose an output directory outside"
        )


def _check_pictures_there(images: UPath) -> None:
    """A folder on which nothing is mounted would reject every picture, and cost an old dataset."""
    if is_local(images) and next(images.iterdir(), None) is None:
        raise PreprocessingError(
            f"{images}: expected pictures, received an empty folder; mount what should be there"
        )


def _rejections(root: UPath) -> dict[RejectReason, int]:
    """Rows of `rejected.parquet` by reason, the most frequent first."""
    counts = count_values(root / REJECTED_NAME, "reason")
    return {RejectReason(reason): count for reason, count in counts.most_common()}


def _rejected_table(root: UPath) -> str:
    if (root / REJECTED_NAME).is_file():
        return REJECTED_NAME
    return f"{part_path(root / REJECTED_NAME, 0).parent.name}/"


def _retryable(root: UPath) -> int:
    """Rejected images of an earlier run that may do when they are looked at again."""
    if not table_parts(root / REJECTED_NAME)[0].is_file():
        return 0
    rejected = _rejections(root)
    return sum(rejected.get(reason, 0) for reason in RETRYABLE)


@contextmanager
def _storage_named(output: str) -> Iterator[None]:
    """Trouble with storage as one line; it says nothing about what is stored."""
    try:
        yield
    except ImportError as error:  # Of a library for one kind of storage: it says which.
        raise PreprocessingError(f"{output}: {error}") from error
    except OSError as error:
        raise PreprocessingError(
            f"{output}: the job failed: {error}; mend the cause and run again, finished work is "
            "kept"
        ) from error


def _read_bytes(meter: Meter, so_far: int) -> None:
    meter.reach(Stage.READ_CATALOG, so_far // 1_000_000)


def _count_rows(catalog: CatalogConfig, meter: Meter) -> int:
    meter.begin(Stage.COUNT_ROWS)
    return count_rows(catalog, partial(meter.reach, Stage.COUNT_ROWS))


def _ignore(_: object) -> None:
    pass
