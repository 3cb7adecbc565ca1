"""The preprocessing job: catalog in, dataset out.

Phase one (keys.py) decides everything and writes the plan; phase two (shards.py) writes one shard
per work item; the manifest comes last. Each step is skipped when its result is there already.
"""

import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import ClassVar, Literal

import pyarrow as pa
from upath import UPath

from manylabel.preprocessing.beam_runner import beam, run_pipeline
from manylabel.preprocessing.catalogs import detect_format, image_root
from manylabel.preprocessing.config import CatalogFormat, PreprocessingConfig
from manylabel.preprocessing.dataset_plan import (
    DUPLICATES_NAME,
    OUTCOMES_NAME,
    PLAN_NAME,
    DatasetPlan,
    planned_images,
    read_planned,
    read_planned_classes,
    read_totals,
    remove_plan,
    shard_count,
    shard_name,
    write_missing_work_items,
)
from manylabel.preprocessing.errors import PreprocessingError
from manylabel.preprocessing.fetch import fetch, file_digest
from manylabel.preprocessing.fingerprint import compute_fingerprint
from manylabel.preprocessing.keys import plan_dataset
from manylabel.preprocessing.labels import LabelCount
from manylabel.preprocessing.output import Owner, claim
from manylabel.preprocessing.progress import Progress, ProgressListener, Stage, watching_files
from manylabel.preprocessing.rejections import LABEL_REASONS, ImageRejectedError, RejectReason
from manylabel.preprocessing.shards import index_path, intact_shard, tfrecord_path, write_shard
from manylabel.storage.documents import Document
from manylabel.storage.errors import DocumentError
from manylabel.storage.locations import is_local
from manylabel.storage.manifest import (
    HELDOUT_IMAGES_NAME,
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
from manylabel.storage.schema import HELDOUT_IMAGES_SCHEMA, LABELS_SCHEMA, SplitName
from manylabel.storage.tables import read_table, write_table


class _Outcomes(Document):
    """What `write_shard` returned for the shards: what it wrote, and why it could not."""

    NOUN: ClassVar[str] = "an account of written shards"
    REMEDY: ClassVar[str] = "run preprocessing again"

    format_version: Literal[1] = 1
    written: tuple[RecordShard, ...]
    problems: tuple[str, ...]


@dataclass(frozen=True)
class PreprocessingReport:
    """What a run did.

    Attributes:
        dataset: The output directory.
        content_digest: Of the dataset.
        counts: Images, as in the manifest.
        rejected: Rows of `rejected.parquet` by reason, the rejected labels of accepted images
            included.
        images: Records on each side.
        num_classes: Rows of `labels.parquet`.
        shards_written: By this run.
        shards_kept: Found complete and intact.
        seconds: Wall time.
    """

    dataset: str
    content_digest: str
    counts: ImageCounts
    rejected: dict[RejectReason, int]
    images: dict[SplitName, int]
    num_classes: int
    shards_written: int
    shards_kept: int
    seconds: float

    @property
    def nothing_to_do(self) -> bool:
        """Whether the dataset was there already, complete and intact."""
        return self.shards_written == 0


def preprocess(
    config: PreprocessingConfig,
    output: str,
    *,
    overwrite: bool = False,
    progress: ProgressListener | None = None,
) -> PreprocessingReport:
    """Makes the dataset of `config` at `output`, or as much of it as is missing there.

    Args:
        config: All settings.
        output: Directory of the dataset; new, empty, or of an earlier run.
        overwrite: Delete a dataset of other settings or another catalog that is there.
        progress: Called when a stage begins and while it runs, also from another thread.

    Raises:
        PreprocessingError: wrong input, named in one line. Single images that cannot be used are
            no errors: they are in `rejected.parquet`.
    """
    started = time.monotonic()
    listener = progress or _ignore
    root = UPath(output)
    images = image_root(config.catalog)
    _check_output_outside(config, root)
    listener(Progress(Stage.READ_CATALOG))
    settings = config.model_dump(mode="json", exclude={"runner"})
    fingerprint = compute_fingerprint(config)
    _check_pictures_there(images)
    with claim(root, Owner(fingerprint=fingerprint, settings=settings), overwrite=overwrite):
        plan = DatasetPlan.find(root)
        if plan is None or plan.fingerprint != fingerprint:
            listener(Progress(Stage.CHECK_IMAGES))
            plan = _make_plan(config, fingerprint, images, root)
        elif plan.image_root != str(images):
            listener(Progress(Stage.CHECK_IMAGES))
            plan = _moved(plan, config, images, root)
        kept, written = _write_missing_shards(plan, config, images, root, listener)
        manifest = _finish(plan, kept | written, settings, root)
        rejected = _rejections(root)
    return PreprocessingReport(
        dataset=str(root),
        content_digest=manifest.content_digest,
        counts=manifest.counts,
        rejected=rejected,
        images={split: manifest.splits[split].records for split in SplitName},
        num_classes=manifest.num_classes,
        shards_written=len(written),
        shards_kept=len(kept),
        seconds=time.monotonic() - started,
    )


def _make_plan(
    config: PreprocessingConfig, fingerprint: str, images: UPath, root: UPath
) -> DatasetPlan:
    """Phase one."""
    (root / MANIFEST_NAME).unlink(missing_ok=True)  # Tables that it vouches for are replaced.
    remove_plan(root)
    run_pipeline(
        lambda pipeline: plan_dataset(pipeline, config, images, root), config.runner.processes
    )
    classes = read_planned_classes(root)
    if not classes:
        reasons = ", ".join(f"{count} {reason}" for reason, count in _rejections(root).items())
        raise PreprocessingError(
            f"{config.catalog.path}: no image is left to train on ({reasons}); "
            f"see {root / REJECTED_NAME}"
        )
    _write_labels(classes, root)
    totals = read_totals(root)
    shards = {}
    for split in SplitName:
        number = shard_count(totals.images.get(split, 0), config.shards.images_per_shard)
        shards[split] = [shard_name(split, index, number) for index in range(number)]
        write_missing_work_items(root, shards[split])
        _check_planned(totals.images.get(split, 0), planned_images(root, shards[split]), root)
    _write_heldout_images(shards[SplitName.HELDOUT], root)
    plan = DatasetPlan(
        fingerprint=fingerprint,
        image_root=str(images),
        labels_digest=table_digest(read_table(root / LABELS_NAME)),
        heldout_images_digest=table_digest(read_table(root / HELDOUT_IMAGES_NAME)),
        listed=totals.listed,
        shards=shards,
    )
    plan.write(root / PLAN_NAME)
    return plan


def _moved(
    plan: DatasetPlan, config: PreprocessingConfig, images: UPath, root: UPath
) -> DatasetPlan:
    """The plan for pictures that lie elsewhere now.

    Raises:
        PreprocessingError: they are not those that the dataset was made from; nothing is changed.
    """
    for shard in (name for split in SplitName for name in plan.shards[split]):
        for image in read_planned(root, shard):
            try:
                data = fetch(images, image.image_id, config.images.max_bytes)
                received = "" if file_digest(data) == image.digest else "another one"
            except ImageRejectedError as rejected:
                received = str(rejected.reason)
            if received:
                raise PreprocessingError(
                    f"{images / image.image_id}: expected the picture that the dataset {root} was "
                    f"made from, received {received}; pictures were in {plan.image_root}: name "
                    "that folder, choose another output directory, or --overwrite that dataset"
                )
    moved = plan.model_copy(update={"image_root": str(images)})
    moved.write(root / PLAN_NAME)
    return moved


def _write_labels(classes: Sequence[LabelCount], root: UPath) -> None:
    training_labels = sum(label.train_count for label in classes)
    columns = {
        "class_id": range(len(classes)),
        "name": [label.name for label in classes],
        "train_count": [label.train_count for label in classes],
        "heldout_count": [label.heldout_count for label in classes],
        "train_share": [label.train_count / training_labels for label in classes],
    }
    write_table(root / LABELS_NAME, pa.table(columns, schema=LABELS_SCHEMA))


def _write_heldout_images(shards: Sequence[str], root: UPath) -> None:
    places = [
        (image.image_id, image.near_duplicate_group, shard, place)
        for shard in shards
        for place, image in enumerate(read_planned(root, shard))
    ]
    groups: dict[int, int] = {}
    rows = [
        {
            "image_row": image_row,
            "image_id": image_id,
            "near_duplicate_group": groups.setdefault(group, len(groups)),
            "shard": shard,
            "place": place,
        }
        for image_row, (image_id, group, shard, place) in enumerate(sorted(places))
    ]
    table = pa.Table.from_pylist(rows, schema=HELDOUT_IMAGES_SCHEMA)
    write_table(root / HELDOUT_IMAGES_NAME, table)


def _check_planned(decided: int, planned: int, root: UPath) -> None:
    if planned != decided:
        raise PreprocessingError(
            f"{root}: {decided} images are to be written, but the plan lists {planned}; did "
            "something else write there? Run again, with nothing else at work in that directory"
        )


def _write_missing_shards(
    plan: DatasetPlan,
    config: PreprocessingConfig,
    images: UPath,
    root: UPath,
    listener: ProgressListener,
) -> tuple[dict[str, RecordShard], dict[str, RecordShard]]:
    """Phase two. Returns the shards that were there and those that it wrote, by name."""
    listener(Progress(Stage.VERIFY_SHARDS))
    names = [name for split in SplitName for name in plan.shards[split]]
    found = {name: intact_shard(name, root) for name in names}
    kept = {name: shard for name, shard in found.items() if shard is not None}
    missing = [name for name in names if name not in kept]
    if not missing:
        return kept, {}
    (root / MANIFEST_NAME).unlink(missing_ok=True)  # First: an interrupted repair must not open.
    for name in missing:
        (root / index_path(name)).unlink(missing_ok=True)

    def write_shards(pipeline: beam.Pipeline) -> None:
        _ = (
            pipeline
            | beam.Create(missing)
            | beam.Reshuffle()
            | beam.Map(write_shard, root, images, config.images)
            | beam.combiners.ToList()
            | beam.Map(_write_outcomes, root)
        )

    indexes = [root / index_path(name) for name in missing]
    with watching_files(indexes, Stage.WRITE_SHARDS, listener):
        run_pipeline(write_shards, config.runner.processes)
    outcomes = _Outcomes.read(root / OUTCOMES_NAME)
    (root / OUTCOMES_NAME).unlink()
    if outcomes.problems:
        raise PreprocessingError(
            f"{outcomes.problems[0]} ({len(outcomes.problems)} of {len(missing)} shards were "
            "not written); leave the images alone and run again with --overwrite"
        )
    by_path = {shard.path: shard for shard in outcomes.written}
    return kept, {name: by_path[tfrecord_path(name)] for name in missing}


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
        duplicates=read_table(root / DUPLICATES_NAME).num_rows,
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
    with suppress(OSError, DocumentError):
        present = Manifest.read(root / MANIFEST_NAME)
        if present.model_copy(update={"code_version": manifest.code_version}) == manifest:
            return present  # What it says of who finished the dataset stays true.
    manifest.write(root / MANIFEST_NAME)
    return manifest


def _check_output_outside(config: PreprocessingConfig, root: UPath) -> None:
    """A dataset inside the folder that is its catalog would list itself the next time."""
    folder = UPath(config.catalog.path)
    is_folder = detect_format(config.catalog) is CatalogFormat.FOLDER
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
    reasons = read_table(root / REJECTED_NAME).column("reason").to_pylist()
    return {RejectReason(reason): count for reason, count in Counter(reasons).most_common()}


def _write_outcomes(outcomes: Sequence[RecordShard | str], root: UPath) -> None:
    """In an order that does not depend on which process was first."""
    written = [outcome for outcome in outcomes if isinstance(outcome, RecordShard)]
    problems = [outcome for outcome in outcomes if isinstance(outcome, str)]
    _Outcomes(
        written=tuple(sorted(written, key=lambda shard: shard.path)),
        problems=tuple(sorted(problems)),
    ).write(root / OUTCOMES_NAME)


def _ignore(_: Progress) -> None:
    pass
