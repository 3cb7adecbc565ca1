"""Writing damaged files of a finished dataset again, to the byte, from its plan and the pictures.

Nothing else of the dataset changes, and nothing that cannot be made as it was is touched: the
dataset stays the one that runs were trained on.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial

from pydantic import ValidationError
from upath import UPath

from manylabel.preprocessing.catalogs import catalogs_of
from manylabel.preprocessing.config import ExecutorKind, PreprocessingConfig
from manylabel.preprocessing.errors import PreprocessingError
from manylabel.preprocessing.executors import Lost, Task, open_executor
from manylabel.preprocessing.finished import note_files
from manylabel.preprocessing.output import remove_leftovers, sole_writer
from manylabel.preprocessing.pictures.checking import Pictures
from manylabel.preprocessing.pictures.fetched import FETCHED_DIRECTORY
from manylabel.preprocessing.pictures.http_source import HttpSource
from manylabel.preprocessing.planning.dataset_plan import (
    PLAN_DIRECTORY,
    DatasetPlan,
    plan_path,
    planned_images,
    read_planned_classes,
)
from manylabel.preprocessing.planning.for_readers import heldout_images_table, labels_table
from manylabel.preprocessing.progress import Meter, Stage
from manylabel.preprocessing.running import running
from manylabel.preprocessing.verification import Damage
from manylabel.preprocessing.writing.shards import index_again, split_of, write_from
from manylabel.storage.dataset import Dataset
from manylabel.storage.errors import StorageError, UnreachableTableError
from manylabel.storage.locations import is_local
from manylabel.storage.manifest import HELDOUT_IMAGES_NAME, LABELS_NAME, RecordShard, table_digest
from manylabel.storage.schema import SplitName
from manylabel.storage.tables import count_rows, write_table

_WITHOUT_PLAN = (
    "there is no plan/ of this dataset, which says what belongs into it; copy the file from where "
    "the dataset came from, or make it anew with `manylabel preprocess`"
)
_FROM_CATALOG = "it is made from the catalog: run `manylabel preprocess` with the settings again"

_OPTIONS = {SplitName.TRAIN: "--image-root", SplitName.HELDOUT: "--heldout-image-root"}


@dataclass
class Repair:
    """What became of damaged files, by their paths in the dataset.

    Attributes:
        mended: Those that are whole again.
        left: Those that are as damaged as before, and why.
    """

    mended: list[str] = field(default_factory=list)
    left: dict[str, str] = field(default_factory=dict)

    def note(self, path: str, reason: str | None) -> None:
        """One file is whole again, or `reason` says why it is not."""
        if reason is None:
            self.mended.append(path)
        else:
            self.left[path] = reason


def repair(
    dataset: Dataset,
    damages: Sequence[Damage],
    meter: Meter,
    image_roots: Mapping[SplitName, str] | None = None,
) -> Repair:
    """Writes what is damaged again, as far as that can be done.

    Args:
        damages: As `verify` found them.
        image_roots: Where the pictures of a side lie now; by default where they were.

    Raises:
        PreprocessingError: another job writes there.
        OSError, UnreachableTableError: the storage failed; what was mended stays.
    """
    root, done = dataset.root, Repair()
    plan = DatasetPlan.read_at(root)
    if plan is not None and plan.fingerprint != dataset.manifest.fingerprint:
        plan = None
    lost = {each.path: each.shard for each in damages if each.shard and _is_shard(each)}
    with sole_writer(root):
        remove_leftovers(root)
        for damage in damages:
            if damage.shard is None:
                done.note(damage.path, _table_again(dataset, plan, damage.path))
            elif damage.shard.path not in lost:
                index_again(damage.shard, root)
                done.note(damage.path, None)
        shards = _Shards(dataset, plan, lost, image_roots or {})
        done.left |= shards.left
        if shards.planned:
            for path, reason in shards.write(dataset, lost, meter):
                done.note(path, reason)
        for damage in damages:  # An index comes with its shard.
            if damage.shard and not _is_shard(damage) and damage.shard.path in lost:
                done.note(damage.path, done.left.get(damage.shard.path))
        if plan is not None and not done.left:
            note_files(root, plan)
    return done


def _is_shard(damage: Damage) -> bool:
    return damage.shard is not None and damage.path == damage.shard.path


def _table_again(dataset: Dataset, plan: DatasetPlan | None, name: str) -> str | None:
    """Why a table could not be written again, or None."""
    if name not in (LABELS_NAME, HELDOUT_IMAGES_NAME):
        return _FROM_CATALOG
    if plan is None:
        return _WITHOUT_PLAN
    try:
        if name == LABELS_NAME:
            table = labels_table(read_planned_classes(dataset.root))
            expected = dataset.manifest.labels_digest
        else:
            table = heldout_images_table(plan.shards[SplitName.HELDOUT], dataset.root)
            expected = plan.heldout_images_digest
    except UnreachableTableError:
        raise
    except StorageError as error:
        return str(error)
    if table_digest(table) != expected:
        return "its plan gives another table; " + _FROM_CATALOG
    write_table(dataset.root / name, table)
    return None


def check_image_roots(dataset: Dataset, image_roots: Mapping[SplitName, str]) -> None:
    """That each side whose pictures are said to lie elsewhere has a catalog of pictures in files.

    Raises:
        PreprocessingError: one has not; it names the option.
    """
    if not image_roots:
        return
    catalogs = catalogs_of(_settings(dataset))
    for side in image_roots:
        if side not in catalogs:
            reason = "has no held-out catalog"
        elif catalogs[side].http is not None:
            reason = "was made of pictures that its catalog names by URL"
        else:
            continue
        raise PreprocessingError(
            f"{dataset.root}: {_OPTIONS[side]} is given, but this dataset {reason}; leave that "
            "option out"
        )


class _Shards:
    """Those that are to be written again.

    Attributes:
        planned: Paths of those that can be, by name.
        left: Why the others cannot, by path.
        roots: Where the pictures of the planned ones are.
    """

    def __init__(
        self,
        dataset: Dataset,
        plan: DatasetPlan | None,
        lost: Iterable[str],
        image_roots: Mapping[SplitName, str],
    ) -> None:
        self.planned: dict[str, str] = {}
        self.left: dict[str, str] = {}
        self.roots: dict[SplitName, Pictures] = {}
        problems: dict[SplitName, str] = {}
        for path in lost:
            name = path.rpartition("/")[2].removesuffix(".tfrecord")
            reason = _unplanned(dataset.root, plan, name)
            if plan is not None and reason is None:
                side = split_of(name)
                if side not in self.roots and side not in problems:
                    where = _pictures(side, plan, dataset, image_roots)
                    if isinstance(where, str):
                        problems[side] = where
                    else:
                        self.roots[side] = where
                reason = problems.get(side)
            if reason is None:
                self.planned[name] = path
            else:
                self.left[path] = reason

    def write(
        self, dataset: Dataset, lost: Mapping[str, RecordShard], meter: Meter
    ) -> Iterator[tuple[str, str | None]]:
        """Each path, and why it could not be written, or None."""
        config = _settings(dataset, len(self.planned))
        write = partial(
            write_from,
            root=dataset.root,
            image_roots=self.roots,
            policy=config.images,
            expected={name: lost[path].sha256 for name, path in self.planned.items()},
        )
        places = [where for where in self.roots.values() if isinstance(where, UPath)]
        plan = dataset.root / PLAN_DIRECTORY
        with (
            open_executor(config, dataset.root.name, places, plan) as executor,
            running(executor, meter),
        ):
            meter.begin(Stage.WRITE_SHARDS, planned_images(dataset.root, self.planned))
            outcomes = executor.map(write, list(self.planned), 1, Task.WRITE_SHARDS)
            with closing(outcomes):
                for path, outcome in zip(self.planned.values(), outcomes, strict=True):
                    if isinstance(outcome, RecordShard):
                        meter.advance(Stage.WRITE_SHARDS, outcome.records)
                        yield path, None
                    else:
                        yield path, outcome.reason if isinstance(outcome, Lost) else outcome


def _settings(dataset: Dataset, shards: int = 1) -> PreprocessingConfig:
    """What the dataset was made with, for so many shards."""
    executor = ExecutorKind.INLINE if shards == 1 else ExecutorKind.PROCESSES
    settings = dataset.manifest.settings | {"executor": executor}
    try:
        return PreprocessingConfig.model_validate(settings)
    except ValidationError as error:
        raise PreprocessingError(
            f"{dataset.root}: the settings in its manifest are not those of this version "
            f"({error.errors()[0]['msg']}); repair it with the version that made it, "
            f"{dataset.manifest.code_version}"
        ) from error


def _unplanned(root: UPath, plan: DatasetPlan | None, name: str) -> str | None:
    """Why a shard cannot be written from the plan."""
    if plan is None:
        return _WITHOUT_PLAN
    try:
        count_rows(plan_path(root, name))
    except UnreachableTableError:
        raise
    except StorageError as error:
        return str(error)
    return None


def _pictures(
    side: SplitName, plan: DatasetPlan, dataset: Dataset, image_roots: Mapping[SplitName, str]
) -> Pictures | str:
    """Where the pictures of a side are, or that they are not."""
    of_catalog = side if side in plan.image_roots else SplitName.TRAIN
    catalog = catalogs_of(_settings(dataset))[of_catalog]
    if catalog.http is not None:
        return HttpSource(catalog.http, dataset.root / FETCHED_DIRECTORY)
    text = image_roots.get(of_catalog, plan.image_roots[of_catalog])
    where = UPath(text)
    if not where.is_dir():
        return (
            f"its pictures are not in {text}; name where they lie now with {_OPTIONS[of_catalog]}"
        )
    return UPath(where.path).resolve() if is_local(where) else where
