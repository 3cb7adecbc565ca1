"""The preprocessing job: catalog in, dataset out.

Phase one (phase_one.py) decides everything and writes the plan; phase two (phase_two.py) writes one
shard per work item; the manifest comes last. Each step is skipped when its result is there already.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from upath import UPath

from manylabel.preprocessing.catalogs import (
    catalogs_of,
)
from manylabel.preprocessing.config import PreprocessingConfig
from manylabel.preprocessing.errors import PreprocessingError
from manylabel.preprocessing.executors import open_executor
from manylabel.preprocessing.finished import find_finished, finish, read_manifest
from manylabel.preprocessing.label_doubts import split_doubts
from manylabel.preprocessing.looking import Seen, count_all_rows, look
from manylabel.preprocessing.output import claim, remove_leftovers, remove_other_shards
from manylabel.preprocessing.path_doubts import path_doubts
from manylabel.preprocessing.pictures.checking import CheckJob
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
from manylabel.preprocessing.writing.fetched_shards import drop_written, keep_again
from manylabel.preprocessing.writing.phase_two import find_shards, write_shards
from manylabel.storage.dataset import LABELS_NAME
from manylabel.storage.errors import reason_of
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
        seen = look(config, output, meter, overwrite=overwrite)
        job = CheckJob(seen.images, config.images, seen.root, retry=retry_rejected)
        with claim(seen.root, seen.owner, overwrite=overwrite):
            retried = _retried(config, seen.root, retry=retry_rejected)
            result = _found(seen)
            if result is None or verify or retried:
                plan = seen.root / PLAN_DIRECTORY
                with (
                    open_executor(config, seen.root.name, seen.folders, plan) as executor,
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


def _found(seen: Seen) -> Result | None:
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
    seen: Seen,
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
        rows = seen.rows if seen.rows is not None else count_all_rows(config, here().meter)
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


def _ignore(_: object) -> None:
    pass
