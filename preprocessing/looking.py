"""What a preprocessing job finds out before it changes anything."""

from collections import Counter
from collections.abc import Mapping
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
from manylabel.preprocessing.executors import check_cluster
from manylabel.preprocessing.fingerprint import compute_fingerprint
from manylabel.preprocessing.label_doubts import label_doubts
from manylabel.preprocessing.output import Owner
from manylabel.preprocessing.pictures.checking import Pictures
from manylabel.preprocessing.pictures.fetched import FETCHED_DIRECTORY
from manylabel.preprocessing.pictures.http_source import HttpSource
from manylabel.preprocessing.planning.dataset_plan import DatasetPlan
from manylabel.preprocessing.progress import Meter, Stage
from manylabel.preprocessing.transport.runner import check_runner
from manylabel.storage.locations import is_local
from manylabel.storage.schema import SplitName


@dataclass(frozen=True)
class Seen:
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

    @property
    def folders(self) -> list[UPath]:
        """Of pictures that are files."""
        return _folders(self.images)


def look(config: PreprocessingConfig, output: str, meter: Meter, *, overwrite: bool) -> Seen:
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
        rows = count_all_rows(config, meter)
    doubts = [doubt for catalog in catalogs for doubt in label_doubts(catalog)]
    for folder in _folders(images):
        _check_pictures_there(folder)
    owner = Owner(
        fingerprint=compute_fingerprint(config, *digests),
        settings=config.model_dump(mode="json", exclude={"executor", "runner"}),
    )
    left_out = sum((Counter(digest.left_out) for digest in digests), Counter())
    return Seen(root, images, owner, rows, left_out, doubts)


def _read_bytes(meter: Meter, so_far: int) -> None:
    meter.reach(Stage.READ_CATALOG, so_far // 1_000_000)


def count_all_rows(config: PreprocessingConfig, meter: Meter) -> int:
    """The rows of all catalogs together."""
    meter.begin(Stage.COUNT_ROWS)
    rows = 0
    for catalog in catalogs_of(config).values():
        rows += count_rows(catalog, partial(_reach_rows, meter, rows))
    return rows


def _reach_rows(meter: Meter, before: int, so_far: int) -> None:
    meter.reach(Stage.COUNT_ROWS, before + so_far)


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
