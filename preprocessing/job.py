"""The preprocessing job: catalog in, dataset out.

Phase one (phase_one.py) decides everything and writes the plan; phase two (phase_two.py) writes one
shard per work item; the manifest comes last. Each step is skipped when its result is there already.
"""

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from upath import UPath

from manylabel.preprocessing.catalog_config import CatalogConfig
from manylabel.preprocessing.catalogs import (
    catalog_digest,
    catalog_path,
    catalogs_of,
    check_settings_of_format,
    count_rows,
    image_root,
)
from manylabel.preprocessing.config import ExecutorKind, PreprocessingConfig
from manylabel.preprocessing.errors import PreprocessingError
from manylabel.preprocessing.executors import check_cluster, open_executor
from manylabel.preprocessing.fingerprint import compute_fingerprint
from manylabel.preprocessing.finished import find_finished, finish, read_manifest
from manylabel.preprocessing.label_doubts import label_doubts, split_doubts
from manylabel.preprocessing.output import Owner, claim, remove_leftovers, remove_other_shards
from manylabel.preprocessing.path_doubts import path_doubts
from manylabel.preprocessing.pictures.checking import CheckJob, Pictures
from manylabel.preprocessing.pictures.fetched import FETCHED_DIRECTORY
from manylabel.preprocessing.pictures.http_source import HttpSource
from manylabel.preprocessing.planning.dataset_plan import NOT_WRITTEN, PLAN_DIRECTORY, DatasetPlan
from manylabel.preprocessing.planning.found_now import paths_below_now, refuse_paths_below_now
from manylabel.preprocessing.planning.make_plan import make_plan, moved_plan
from manylabel.preprocessing.progress import Meter, ProgressListener, Stage, reporting
from manylabel.preprocessing.report import (
    Asked,
    PreprocessingReport,
    Result,
    count_retryable,
    report_on,
)
from manylabel.preprocessing.running import here, running
from manylabel.preprocessing.transport.runner import check_runner
from manylabel.preprocessing.writing.fetched_shards import drop_written, keep_again
from manylabel.preprocessing.writing.phase_two import find_shards, write_shards
from manylabel.storage.dataset import LABELS_NAME
from manylabel.storage.errors import reason_of
from manylabel.storage.locations import is_local
from manylabel.storage.schema import SplitName
from manylabel.storage.tables import read_table


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
        progress: Called while the job runs, from another thread; what it raises ends the job.

    Raises:
        PreprocessingError: wrong input, named in one line. Single images that cannot be used are
            no errors: they are in `rejected.parquet`.
        StorageError: a file of the dataset is of another version, or cannot be read now.
    """
    started = time.monotonic()
    meter = Meter()
    with reporting(meter, progress or _ignore), _storage_named(output):
        seen = _look(config, output, meter, overwrite=overwrite)
        job = CheckJob(seen.images, config.images, seen.root, retry=retry_rejected)
        with claim(seen.root, seen.owner, overwrite=overwrite):
            retried = _retried(config, seen.root, retry=retry_rejected)
            result = _found(seen)
            if result is None or verify or retried:
                plan = seen.root / PLAN_DIRECTORY
                with (
                    open_executor(config, seen.root.name, _folders(seen.images), plan) as executor,
                    running(executor, meter),
                ):
                    result = _work(config, seen, job, verify=verify, retry=retried > 0)
            asked = Asked(
                config.heldout,
                retried,
                verified=verify,
                left_out=seen.left_out,
                label_doubts=(*seen.label_doubts, *_split_doubts(config, seen.root)),
                remarks=meter.remarks(),
                path_doubts=_path_doubts(config, seen.root),
            )
            return report_on(seen.root, result, asked, time.monotonic() - started)


@dataclass(frozen=True)
class _Seen:
    """What a job knows before anything is changed.

    Attributes:
        root: of the dataset; images: where the pictures of each side are.
        rows: of the catalogs; None where no plan is made of them, as far as is known.
        left_out: files and folders that folder catalogs do not list, by name.
    """

    root: UPath
    images: dict[SplitName, Pictures]
    owner: Owner
    rows: int | None
    left_out: Counter[str]
    label_doubts: list[str]


def _look(config: PreprocessingConfig, output: str, meter: Meter, *, overwrite: bool) -> _Seen:
    """Finds whatever would keep the job from its end, as far as that is to be known now.

    Raises:
        PreprocessingError: settings, catalogs or pictures cannot be used.
    """
    check_runner(config.runner)
    check_cluster(config)
    root = UPath(output)
    if config.executor is ExecutorKind.RAY and is_local(root):
        root = root.absolute()  # nodes have other current folders
    images = _pictures(config, root)
    meter.begin(Stage.READ_CATALOG)
    catalogs = catalogs_of(config).values()
    digests = [catalog_digest(catalog, partial(_read_bytes, meter)) for catalog in catalogs]
    rows = None
    if overwrite or DatasetPlan.read_at(root) is None:
        # To its end, before a dataset is touched or a directory made.
        rows = _count_rows(config, meter)
    doubts = [doubt for catalog in catalogs for doubt in label_doubts(catalog)]
    for folder in _folders(images):
        _check_pictures_there(folder)
    owner = Owner(
        fingerprint=compute_fingerprint(config, *digests),
        settings=config.model_dump(mode="json", exclude={"executor", "runner"}),
    )
    left_out = sum((Counter(digest.left_out) for digest in digests), Counter())
    return _Seen(root, images, owner, rows, left_out, doubts)


def _found(seen: _Seen) -> Result | None:
    """The dataset, where it is finished and of this job."""
    finished = find_finished(seen.root, seen.owner.fingerprint, seen.images)
    if finished is None:
        return None
    kept = sum(len(split.shards) for split in finished.splits.values())
    return Result(finished, found=True, written=0, kept=kept)


def _retried(config: PreprocessingConfig, root: UPath, *, retry: bool) -> int:
    """How many rejected images are to be looked at again.

    Raises:
        PreprocessingError: some would be found now, and nobody asked for it.
    """
    if DatasetPlan.read_at(root) is None:
        return count_retryable(root) if retry else 0
    tables = [
        (catalog, root / NOT_WRITTEN[side][0])
        for side, catalog in catalogs_of(config).items()
        if catalog.http is None
    ]
    if retry:
        return count_retryable(root) + sum(len(paths_below_now(*table)) for table in tables)
    for table in tables:
        refuse_paths_below_now(*table)
    return 0


def _split_doubts(config: PreprocessingConfig, root: UPath) -> list[str]:
    names = read_table(root / LABELS_NAME).column("name").to_pylist()
    return split_doubts(config.catalog, names)


def _path_doubts(config: PreprocessingConfig, root: UPath) -> tuple[str, ...]:
    return tuple(
        doubt
        for side, catalog in catalogs_of(config).items()
        for doubt in path_doubts(catalog, root / NOT_WRITTEN[side][0])
    )


def _work(
    config: PreprocessingConfig,
    seen: _Seen,
    job: CheckJob,
    *,
    verify: bool,
    retry: bool,
) -> Result:
    """Everything that may take long."""
    root, owner = seen.root, seen.owner
    here().meter.begin(Stage.FIND_PLAN)
    before = read_manifest(root)
    plan = DatasetPlan.find(root)
    if retry and plan is not None:
        keep_again(plan, job)
        plan = None
    if plan is None or plan.fingerprint != owner.fingerprint:
        rows = seen.rows if seen.rows is not None else _count_rows(config, here().meter)
        plan = make_plan(config, owner.fingerprint, job, rows)
    elif plan.image_roots != {side: str(images) for side, images in job.image_roots.items()}:
        plan = moved_plan(plan, job)
    remove_other_shards(root, set(plan.names))
    kept = find_shards(plan, root, verify=verify)
    missing = [name for name in plan.names if name not in kept]
    written = write_shards(missing, config, job.image_roots, root) if missing else {}
    remove_leftovers(root)
    drop_written(plan, job)
    manifest = finish(plan, kept | written, owner.settings, root)
    found = before is not None and before.content_digest == manifest.content_digest
    return Result(manifest, found and not written, written=len(written), kept=len(kept))


def _pictures(config: PreprocessingConfig, root: UPath) -> dict[SplitName, Pictures]:
    """Where the pictures of each side are; refuses what cannot work before anything is read."""
    catalogs = catalogs_of(config)
    images = {side: _pictures_of(catalog, root) for side, catalog in catalogs.items()}
    for catalog in catalogs.values():
        check_settings_of_format(catalog)
        _check_output_outside(catalog, root)
    _check_workers_reach(config, root, *_folders(images))
    return images


def _folders(images: Mapping[SplitName, Pictures]) -> list[UPath]:
    return [folder for folder in images.values() if isinstance(folder, UPath)]


def _pictures_of(catalog: CatalogConfig, root: UPath) -> Pictures:
    if catalog.http is not None:
        return HttpSource(catalog.http, root / FETCHED_DIRECTORY)
    return image_root(catalog)


def _check_output_outside(catalog: CatalogConfig, root: UPath) -> None:
    """A dataset inside the folder that is its catalog would list itself the next time."""
    folder = catalog_path(catalog)
    if folder.is_dir() and _lies_in(root, folder):
        raise PreprocessingError(
            f"{root}: lies inside the catalog folder {folder}; choose an output directory outside"
        )


def _lies_in(place: UPath, folder: UPath) -> bool:
    """Whether it is the folder or below it, however the two are spelled."""
    if is_local(place) and is_local(folder):
        return Path(place.path).resolve().is_relative_to(Path(folder.path).resolve())
    is_of_one_kind = place.protocol == folder.protocol
    return is_of_one_kind and place.resolve().is_relative_to(folder.resolve())


def _check_workers_reach(config: PreprocessingConfig, *places: UPath) -> None:
    """What is in one process's memory is in no other's."""
    for place in places:
        if place.protocol == "memory" and config.executor is not ExecutorKind.INLINE:
            raise PreprocessingError(
                f"{place}: lies in the memory of this process, which those of the executor "
                f"{config.executor} do not see; set preprocessing.executor to inline"
            )


def _check_pictures_there(images: UPath) -> None:
    """A folder on which nothing is mounted would reject every picture, and cost an old dataset."""
    if is_local(images) and next(images.iterdir(), None) is None:
        raise PreprocessingError(
            f"{images}: expected pictures, received an empty folder; mount what should be there"
        )


@contextmanager
def _storage_named(output: str) -> Iterator[None]:
    """Trouble with storage as one line; it says nothing about what is stored."""
    try:
        yield
    except ImportError as error:  # Of a library for one kind of storage: it says which.
        raise PreprocessingError(f"{output}: {reason_of(error)}") from error
    except OSError as error:
        raise PreprocessingError(
            f"{output}: the job failed: {reason_of(error)}; mend the cause and run again, "
            "finished work is kept"
        ) from error


def _read_bytes(meter: Meter, so_far: int) -> None:
    meter.reach(Stage.READ_CATALOG, so_far // 1_000_000)


def _count_rows(config: PreprocessingConfig, meter: Meter) -> int:
    """Of all catalogs together."""
    meter.begin(Stage.COUNT_ROWS)
    rows = 0
    for catalog in catalogs_of(config).values():
        rows += count_rows(catalog, partial(_reach_rows, meter, rows))
    return rows


def _reach_rows(meter: Meter, before: int, so_far: int) -> None:
    meter.reach(Stage.COUNT_ROWS, before + so_far)


def _ignore(_: object) -> None:
    pass
