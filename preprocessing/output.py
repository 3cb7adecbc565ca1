"""The directory that a dataset is written to: whose it is, and one job in it at a time.

plan/owner.json     first: whose directory this is
plan/lock           locked while a job writes
jobs/               what is said of jobs (storage/jobs.py); neither read here nor deleted
"""

from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, ClassVar, Literal

from upath import UPath

from manylabel.preprocessing.errors import PreprocessingError
from manylabel.preprocessing.fingerprint import settings_that_count
from manylabel.preprocessing.finished import FILES_NAME
from manylabel.preprocessing.pictures.checking import CHECKED_DIRECTORY
from manylabel.preprocessing.pictures.fetched import FETCHED_DIRECTORY, Fetched
from manylabel.preprocessing.planning.dataset_plan import (
    NOT_WRITTEN,
    PLAN_DIRECTORY,
    PLAN_NAME,
    remove_plan,
)
from manylabel.storage import jobs
from manylabel.storage.atomic import TEMPORARY_PATTERN
from manylabel.storage.documents import Document
from manylabel.storage.listing import file_sizes
from manylabel.storage.locations import is_local
from manylabel.storage.locks import sole_holder
from manylabel.storage.manifest import (
    HELDOUT_IMAGES_NAME,
    LABELS_NAME,
    MANIFEST_NAME,
    Manifest,
)
from manylabel.storage.schema import SplitName
from manylabel.storage.tables import part_path

OWNER_FILE = "owner.json"
OWNER_NAME = f"{PLAN_DIRECTORY}/{OWNER_FILE}"
LOCK_NAME = f"{PLAN_DIRECTORY}/lock"


class Owner(Document):
    """Marks a directory as a dataset's, from the first second of the first run."""

    NOUN: ClassVar[str] = "a dataset's owner file"
    REMEDY: ClassVar[str] = "choose another output directory, or --overwrite to delete that dataset"

    format_version: Literal[1] = 1
    fingerprint: str
    settings: dict[str, Any]


@contextmanager
def claim(root: UPath, owner: Owner, *, overwrite: bool) -> Iterator[None]:
    """Makes `root` the directory of this dataset, or finds that it is, and locks it for the block.

    Raises:
        PreprocessingError: it holds another dataset (and `overwrite` is off), or other files, or
            another job is writing there.
    """
    _refuse_other_files(root, overwrite=overwrite)
    with sole_writer(root):
        if overwrite:
            remove_dataset(root)
        elif (root / OWNER_NAME).is_file():
            _refuse_other_dataset(root, owner)
        if overwrite or not (root / OWNER_NAME).is_file():
            owner.write(root / OWNER_NAME)
        remove_leftovers(root)
        yield


def remove_leftovers(root: UPath) -> None:
    """Deletes what processes that were killed had begun to write."""
    tables = (root / name for names in NOT_WRITTEN.values() for name in names)
    parts = (part_path(table, 0).parent for table in tables)
    splits = (root / split for split in SplitName)
    for directory in (root, root / PLAN_DIRECTORY, root / CHECKED_DIRECTORY, *parts, *splits):
        for leftover in file_sizes(directory, TEMPORARY_PATTERN):
            (directory / leftover).unlink(missing_ok=True)
    Fetched(root / FETCHED_DIRECTORY).remove_leftovers()


def _refuse_other_files(root: UPath, *, overwrite: bool) -> None:
    if not root.exists() or (root / OWNER_NAME).is_file():
        return
    if (root / MANIFEST_NAME).is_file():
        if overwrite and Manifest.read(root / MANIFEST_NAME):
            return
        raise PreprocessingError(
            f"{root}: holds a dataset without its {PLAN_DIRECTORY}/, so how it was made cannot be "
            "said; choose another output directory, or --overwrite to delete it"
        )
    # A job may have died between lock and owner, or while it wrote the latter. And whoever submits
    # one says so before it begins.
    ours = (root / PLAN_DIRECTORY, root / LOCK_NAME, root / jobs.DIRECTORY)
    if not root.is_dir() or any(
        path not in ours
        and ours[-1] not in path.parents
        and not fnmatch(path.name, f"{OWNER_FILE}{TEMPORARY_PATTERN[1:]}")
        for path in root.rglob("*")
    ):
        raise PreprocessingError(
            f"{root}: expected a new or empty directory, or one that preprocessing wrote, "
            "received other files; choose another output directory"
        )


def _refuse_other_dataset(root: UPath, owner: Owner) -> None:
    present = Owner.read(root / OWNER_NAME)
    if present.fingerprint != owner.fingerprint:
        raise PreprocessingError(
            f"{root}: holds a dataset of other input ({_difference(present, owner)}); choose "
            "another output directory, or --overwrite to delete that dataset"
        )


@contextmanager
def sole_writer(root: UPath) -> Iterator[None]:
    """Only one job at a time; the system frees the lock of a job that dies.

    Object storage has no locks, so there the user has to see to it.

    Raises:
        PreprocessingError: another job is writing there.
    """
    if not is_local(root):
        yield
        return
    with ExitStack() as stack:
        try:
            stack.enter_context(sole_holder(Path(root.path) / LOCK_NAME))
        except BlockingIOError as error:
            raise PreprocessingError(
                f"{root}: another job is writing this dataset; wait until it has ended, or choose "
                "another output directory"
            ) from error
        yield


def remove_dataset(root: UPath) -> None:
    """Deletes what preprocessing writes, and nothing else.

    First what would vouch for the rest: were this stopped in the middle, the next job would neither
    open the dataset nor believe what was once found in the pictures.
    """
    (root / MANIFEST_NAME).unlink(missing_ok=True)
    (root / PLAN_NAME).unlink(missing_ok=True)
    for part in file_sizes(root / CHECKED_DIRECTORY, "*.parquet"):
        (root / CHECKED_DIRECTORY / part).unlink()
    Fetched(root / FETCHED_DIRECTORY).remove()
    remove_plan(root)
    remove_other_shards(root, ())
    for name in (LABELS_NAME, HELDOUT_IMAGES_NAME, FILES_NAME):
        (root / name).unlink(missing_ok=True)


def remove_other_shards(root: UPath, names: Collection[str]) -> None:
    """Deletes shards, and their indexes, of an earlier plan that had another number of them.

    Args:
        names: Shards that stay.
    """
    for split in SplitName:
        for suffix in (".tfrecord", ".index.parquet"):
            for name in file_sizes(root / split, f"{split}-*-of-*{suffix}"):
                if name.removesuffix(suffix) not in names:
                    (root / split / name).unlink()


def _difference(present: Owner, wanted: Owner) -> str:
    """Names the settings that differ, or else what settings do not show."""
    before, now = (settings_that_count(owner.settings) for owner in (present, wanted))
    differing = [
        f"{section}.{key}"
        for section in before | now
        for key in _both(before, now, section)
        if before.get(section, {}).get(key) != now.get(section, {}).get(key)
    ]
    if differing:
        return f"different {', '.join(differing)}"
    return "the catalog or the version of the code changed"


def _both(before: dict[str, Any], now: dict[str, Any], section: str) -> dict[str, Any]:
    values: dict[str, Any] = now.get(section, {}) | before.get(section, {})
    return values
