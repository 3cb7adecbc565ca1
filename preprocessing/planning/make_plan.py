"""Making the plan of a dataset, or finding that the one that is there still holds."""

from collections.abc import Iterator, Sequence
from functools import partial

from upath import UPath

from manylabel.preprocessing.catalog_config import CatalogConfig
from manylabel.preprocessing.catalogs import catalog_digest, catalogs_of
from manylabel.preprocessing.config import PreprocessingConfig
from manylabel.preprocessing.decisions.columns import column
from manylabel.preprocessing.decisions.work_items import PLAN_SCHEMA, shard_name
from manylabel.preprocessing.errors import PreprocessingError
from manylabel.preprocessing.executors import Lost
from manylabel.preprocessing.fingerprint import compute_fingerprint
from manylabel.preprocessing.label_doubts import label_doubts
from manylabel.preprocessing.path_doubts import path_doubts
from manylabel.preprocessing.pictures.checking import BATCH_IMAGES, CheckJob, Pictures
from manylabel.preprocessing.pictures.fetch import fetch, file_digest, root_of
from manylabel.preprocessing.planning.dataset_plan import (
    NOT_WRITTEN,
    PLAN_DIRECTORY,
    PLAN_NAME,
    DatasetPlan,
    join_parts,
    plan_path,
    planned_images,
    read_planned_classes,
    read_totals,
    remove_plan,
    write_missing_work_items,
)
from manylabel.preprocessing.planning.for_readers import heldout_images_table, labels_table
from manylabel.preprocessing.planning.found_now import refuse_files_found_now
from manylabel.preprocessing.planning.phase_one import bucket_count, plan_dataset
from manylabel.preprocessing.progress import Stage
from manylabel.preprocessing.rejections import ImageRejectedError, RejectReason
from manylabel.preprocessing.running import here
from manylabel.preprocessing.transport.runner import run_pipeline
from manylabel.storage.manifest import (
    HELDOUT_IMAGES_NAME,
    LABELS_NAME,
    MANIFEST_NAME,
    table_digest,
)
from manylabel.storage.schema import SplitName
from manylabel.storage.tables import count_values, read_table, write_table


def make_plan(
    config: PreprocessingConfig, fingerprint: str, job: CheckJob, rows: int
) -> DatasetPlan:
    """Phase one.

    Args:
        rows: Of the catalog.

    Raises:
        PreprocessingError: nothing is left to train on, or the catalog or the files are not what
            they were.
        OSError: the storage failed.
    """
    root = job.root
    (root / MANIFEST_NAME).unlink(missing_ok=True)  # Tables that it vouches for are replaced.
    remove_plan(root)
    here().meter.begin(Stage.SORT_ROWS, rows)
    buckets = bucket_count(rows)
    run_pipeline(
        lambda pipeline: plan_dataset(pipeline, config, job, buckets),
        config.runner,
        root / PLAN_DIRECTORY,
    )
    catalogs = catalogs_of(config)
    if compute_fingerprint(config, *map(catalog_digest, catalogs.values())) != fingerprint:
        paths = ", ".join(catalog.path for catalog in catalogs.values())
        raise PreprocessingError(
            f"{paths}: the catalog changed while it was read; when it is as it shall be, run again "
            "with --overwrite"
        )
    totals = read_totals(root)
    for side, catalog in catalogs.items():
        for name in NOT_WRITTEN[side]:
            join_parts(root, name)
        if not totals.images[side]:
            raise _none_is_left(side, catalog, config, root)
    classes = read_planned_classes(root)
    write_table(root / LABELS_NAME, labels_table(classes))
    shards = {}
    for split in SplitName:
        number = totals.shards[split]
        shards[split] = [shard_name(split, index, number) for index in range(number)]
        write_missing_work_items(root, shards[split])
        _check_planned(totals.images[split], planned_images(root, shards[split]), root)
    write_table(root / HELDOUT_IMAGES_NAME, heldout_images_table(shards[SplitName.HELDOUT], root))
    plan = DatasetPlan(
        fingerprint=fingerprint,
        image_root=str(job.image_roots[SplitName.TRAIN]),
        heldout_image_root=_path_of(job.image_roots.get(SplitName.HELDOUT)),
        labels_digest=table_digest(read_table(root / LABELS_NAME)),
        heldout_images_digest=table_digest(read_table(root / HELDOUT_IMAGES_NAME)),
        listed=totals.listed,
        shards=shards,
    )
    plan.write(root / PLAN_NAME)
    return plan


def _none_is_left(
    side: SplitName, catalog: CatalogConfig, config: PreprocessingConfig, root: UPath
) -> PreprocessingError:
    table, _ = NOT_WRITTEN[side]
    counts = count_values(root / table, "reason").most_common()
    reasons = ", ".join(f"{count} {reason}" for reason, count in counts)
    purpose = "train on" if side is SplitName.TRAIN else "hold out"
    lines = [*label_doubts(catalog), *path_doubts(catalog, root / table)]
    if any(reason == RejectReason.NO_LABEL_LEFT for reason, _ in counts):
        lines.append(
            "preprocessing.labels.minimum_count leaves out labels of fewer than "
            f"{config.labels.minimum_count} images: lower it"
        )
    elif not lines and counts[0][0] == RejectReason.MISSING_FILE and catalog.http is None:
        lines.append(f"set {catalog.SECTION}.image_root to where the pictures are")
    doubts = "".join(f"; {line}" for line in lines)
    return PreprocessingError(
        f"{catalog.path}: no image is left to {purpose} ({reasons}); see {root / table}{doubts}"
    )


def _path_of(root: Pictures | None) -> str | None:
    return None if root is None else str(root)


def _check_planned(decided: int, planned: int, root: UPath) -> None:
    if planned != decided:
        raise PreprocessingError(
            f"{root}: {decided} images are to be written, but the plan lists {planned}; did "
            "something else write there? Run again, with nothing else at work in that directory"
        )


def moved_plan(plan: DatasetPlan, job: CheckJob) -> DatasetPlan:
    """The plan for pictures that lie elsewhere now; those of a side that moved are compared.

    Raises:
        PreprocessingError: they are not those that the dataset was made from, or there are more
            of them; nothing is changed.
    """
    running = here()
    names_of = {
        split: names
        for split, names in plan.shards.items()
        if str(root_of(split, job.image_roots)) != root_of(split, plan.image_roots)
    }  # The others did not move, or come from URLs, which are the same ones.
    names_moved = [name for names in names_of.values() for name in names]
    running.meter.begin(Stage.CHECK_IMAGES, planned_images(job.root, names_moved))
    for split, names in names_of.items():
        image_root = root_of(split, job.image_roots)
        check = partial(_received, image_root=image_root, max_bytes=job.policy.max_bytes)
        digests = _planned_digests(names, job.root)
        for outcome in running.executor.map(check, digests, BATCH_IMAGES):
            running.meter.advance(Stage.CHECK_IMAGES, 1)
            if outcome is None:
                continue
            image_id, received = (
                ("a picture", outcome.reason) if isinstance(outcome, Lost) else outcome
            )
            raise PreprocessingError(
                f"{image_root}/{image_id}: expected the picture that the dataset {job.root} was "
                f"made from, received {received}; pictures were in "
                f"{root_of(split, plan.image_roots)}: name that folder, choose another output "
                "directory, or --overwrite that dataset"
            )
    for side, images in job.image_roots.items():
        if str(images) != plan.image_roots[side]:
            refuse_files_found_now(side, job)
    moved = plan.model_copy(
        update={
            "image_root": str(job.image_roots[SplitName.TRAIN]),
            "heldout_image_root": _path_of(job.image_roots.get(SplitName.HELDOUT)),
        }
    )
    moved.write(job.root / PLAN_NAME)
    return moved


def _planned_digests(names: Sequence[str], root: UPath) -> Iterator[tuple[str, str]]:
    for name in names:
        planned = read_table(plan_path(root, name), PLAN_SCHEMA)
        digests = (column(planned, part).to_pylist() for part in ("image_id", "digest"))
        yield from zip(*digests, strict=True)


def _received(
    planned: tuple[str, str], image_root: Pictures, max_bytes: int
) -> tuple[str, str] | None:
    """An image and what lies in its place; None where it is the same picture."""
    image_id, digest = planned
    try:
        data = fetch(image_root, image_id, max_bytes)
    except ImageRejectedError as rejected:
        return image_id, str(rejected.reason)
    return None if file_digest(data) == digest else (image_id, "another one")
