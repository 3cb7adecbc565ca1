"""Which catalogs there are, where they and their images lie, and of which format they are."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO

from upath import UPath

from manylabel.preprocessing.catalogs.parts import PARQUET_SUFFIXES, is_table_of_parts
from manylabel.preprocessing.catalogs.tar_files import (
    check_not_compressed,
    folder_of_pattern,
    is_folder_of_tars,
    is_pattern,
)
from manylabel.preprocessing.config import CatalogConfig, CatalogFormat, PreprocessingConfig
from manylabel.preprocessing.errors import PreprocessingError
from manylabel.storage.locations import is_local
from manylabel.storage.schema import SplitName

_OF_FOLDERS = frozenset({CatalogFormat.FOLDER, CatalogFormat.PARQUET, CatalogFormat.WEBDATASET})
_OF_FILES = frozenset({CatalogFormat.CSV, CatalogFormat.PARQUET, CatalogFormat.WEBDATASET})

_SUFFIXES = {
    ".csv": CatalogFormat.CSV,
    **dict.fromkeys(PARQUET_SUFFIXES, CatalogFormat.PARQUET),
    ".tar": CatalogFormat.WEBDATASET,
}
"""By which a file's format is found, in lower case."""


def catalogs_of(config: PreprocessingConfig) -> dict[SplitName, CatalogConfig]:
    """What lists the images of each side; without a held-out set of its own only what lists all."""
    catalogs = {SplitName.TRAIN: config.catalog}
    if config.heldout.catalog is not None:
        catalogs[SplitName.HELDOUT] = config.heldout.catalog
    return catalogs


def catalog_path(config: CatalogConfig) -> UPath:
    """Raises PreprocessingError for a path that nothing here can open."""
    return _open_location(config.path, f"{config.SECTION}.path")


@contextmanager
def open_catalog(config: CatalogConfig) -> Iterator[BinaryIO]:
    """A catalog that is a file, for reading; errors of the storage name it.

    Raises:
        OSError: the storage failed, here or inside of the block.
    """
    try:
        with catalog_path(config).open("rb") as file:
            yield file
    except OSError as error:
        if error.filename is None and error.errno is not None:
            raise OSError(error.errno, error.strerror, config.path) from error
        raise


def detect_format(config: CatalogConfig) -> CatalogFormat:
    """The format given or, for `auto`, found from the path; checks that the path is of its kind."""
    path = catalog_path(config)
    if stands_for_tars(config):
        return CatalogFormat.WEBDATASET
    if not path.exists():
        raise PreprocessingError(
            f"{path}: no such catalog; set {config.SECTION}.path to a CSV or Parquet file "
            "or to a folder of images"
        )
    found = config.format
    is_folder = path.is_dir()
    if found is CatalogFormat.AUTO:
        found = _kind_of_folder(path) if is_folder else _by_suffix(path, config.SECTION)
    if found not in (_OF_FOLDERS if is_folder else _OF_FILES):
        received = "a folder" if is_folder else "a file"
        raise PreprocessingError(
            f"{path}: expected a catalog of format {found}, received {received}; set "
            f"{config.SECTION}.format to auto"
        )
    if is_folder and path.protocol in ("http", "https"):
        raise PreprocessingError(
            f"{path}: expected a folder that can be listed, received one of HTTP, which has no "
            "lists; name its images in a CSV or Parquet file"
        )
    if not is_folder and not path.is_file():
        raise PreprocessingError(
            f"{path}: expected a file, which can be read more than once, received a pipe or a "
            "device; write the catalog to a file"
        )
    return found


def stands_for_tars(config: CatalogConfig) -> bool:
    """Whether the path is a pattern, and no file of that name."""
    is_one = is_pattern(config.path) and not catalog_path(config).exists()
    return is_one and config.format in (CatalogFormat.AUTO, CatalogFormat.WEBDATASET)


def image_root(config: CatalogConfig) -> UPath:
    """The directory that the catalog's image paths start from, resolved.

    A local one is a `pathlib.Path`, however it is spelled: what is checked for local files hangs
    on that.
    """
    if config.image_root is not None:
        root = _open_location(config.image_root, f"{config.SECTION}.image_root")
    else:
        path = catalog_path(config)
        if stands_for_tars(config):
            path = _open_location(folder_of_pattern(config.path), f"{config.SECTION}.path")
        # The parts of a table are the table, wherever it lies: its pictures are beside it.
        is_root = path.is_dir() and detect_format(config) is not CatalogFormat.PARQUET
        root = path if is_root else path.parent
    if not root.is_dir():
        raise PreprocessingError(
            f"{root}: no such directory; set {config.SECTION}.image_root to where the "
            "catalog's image paths start"
        )
    if root.protocol in ("file", "local"):
        root = UPath(root.path)
    return root.resolve()


def _open_location(text: str, setting: str) -> UPath:
    try:
        path = UPath(os.path.expanduser(text))
        if not is_local(path):
            storage = path.fs
            with suppress(FileNotFoundError):
                storage.info(path.path)  # exists() is False as well where no one answers.
    except Exception as error:  # Each kind of storage has its own, also for a missing package.
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise PreprocessingError(
            f"{text}: expected a path or a URL for {setting}, received one "
            f"that cannot be opened ({reason}); write ./ before a path that looks like a URL"
        ) from error
    return path


def _kind_of_folder(path: UPath) -> CatalogFormat:
    if is_table_of_parts(path):
        return CatalogFormat.PARQUET
    return CatalogFormat.WEBDATASET if is_folder_of_tars(path) else CatalogFormat.FOLDER


def _by_suffix(path: UPath, section: str) -> CatalogFormat:
    check_not_compressed(path, path.name)
    for suffix, found in _SUFFIXES.items():
        if path.name.lower().endswith(suffix):
            return found
    raise PreprocessingError(
        f"{path}: expected a file that ends in {' or '.join(_SUFFIXES)}, or a folder; set "
        f"{section}.format to what it is"
    )
