"""Which files a catalog is made of."""

import os
import posixpath
import re
from collections.abc import Iterator

from manylabel.preprocessing.catalog_config import CatalogConfig, CatalogFormat
from manylabel.preprocessing.catalogs.location import (
    catalog_path,
    detect_format,
    image_root,
    stands_for_tars,
)
from manylabel.preprocessing.catalogs.parts import list_parts
from manylabel.preprocessing.catalogs.tar_files import (
    folder_of_pattern,
    list_tars,
    match_tars,
    tar_below_root,
)
from manylabel.preprocessing.errors import PreprocessingError
from manylabel.storage.locations import is_local

_SPLIT = re.compile(r"(train|test|val|valid|validation|dev|eval)[^a-z=]", re.IGNORECASE)
"""A file or folder that is called after a split, as in train-00000-of-00002.parquet or test.csv."""


def catalog_files(config: CatalogConfig) -> list[str]:
    """All files that say what the catalog lists, in order, as the settings spell paths.

    A folder of pictures has none: its listing says it.

    Raises:
        PreprocessingError: there is no such catalog, or it is not of its format.
    """
    found = detect_format(config)
    if found is CatalogFormat.FOLDER:
        return []
    path = catalog_path(config)
    if stands_for_tars(config):
        folder = folder_of_pattern(config.path)
        below = one_file(config, folder)
        return [posixpath.join(folder, tar) for tar in match_tars(config.path, catalog_path(below))]
    if not path.is_dir():
        return [config.path, *_files_beside(config)]
    names = list_tars(path) if found is CatalogFormat.WEBDATASET else list_parts(path)
    if not names:
        hint = ""
        if found is CatalogFormat.WEBDATASET:
            hint = f", or to a pattern such as {posixpath.join(config.path, '*', '*.tar')}"
        raise PreprocessingError(
            f"{config.path}: expected a folder of {found} files, received one without any; set "
            f"{config.SECTION}.path to where they are{hint}"
        )
    _check_one_split(names, config)
    files = [posixpath.join(config.path, name) for name in names]
    for file in files:
        if is_local(path) and not os.path.isfile(os.path.expanduser(file)):
            raise PreprocessingError(
                f"{file}: expected a part of the table {config.path}, received no file; move it "
                "elsewhere"
            )
    return files


def _check_one_split(names: list[str], config: CatalogConfig) -> None:
    """Else what was kept apart to test on would be trained on."""
    splits, column = {}, ""
    for name in names:
        for part in name.split("/"):
            key, equals, value = part.partition("=")
            if equals and key in (config.split_column, config.label_column, config.group_column):
                continue
            if split := _SPLIT.match(f"{value if equals else part}/"):
                splits[split.group(1).lower()] = name
                column = f", or {config.SECTION}.split_column to {key}" if equals else column
    if len(splits) > 1:
        raise PreprocessingError(
            f"{config.path}: expected the parts of one table, received those of several splits: "
            f"{', '.join(sorted(splits.values()))}; set {config.SECTION}.path to a file, or to a "
            f"folder (of tars also a pattern) that holds one split alone{column}"
        )


def label_files(config: CatalogConfig) -> list[str]:
    """Those of `catalog_files` that list images and labels."""
    if config.open_images is not None:
        return [config.path, *config.open_images.more_labels]
    if config.ml_images is not None:
        return [config.path]
    return catalog_files(config)


def _files_beside(config: CatalogConfig) -> Iterator[str]:
    """Those that say what the labels of a public label set are."""
    section = config.open_images or config.ml_images
    for setting, file in section.files().items() if section is not None else ():
        if not catalog_path(one_file(config, file)).is_file():
            raise PreprocessingError(
                f"{file}: no such file; set {config.SECTION}.{config.format}.{setting} to where "
                "it is"
            )
        yield file


def one_file(config: CatalogConfig, file: str) -> CatalogConfig:
    """The settings of a catalog for the reader of one of its files, which its errors then name.

    Args:
        file: One of `catalog_files`.
    """
    return config.model_copy(update={"path": file})


def path_in_table(config: CatalogConfig, file: str) -> str:
    """Of one of `catalog_files` its path below the folder of parts; empty if it is the catalog."""
    return "" if file == config.path else posixpath.relpath(file, config.path)


def tar_names(config: CatalogConfig, files: list[str]) -> list[str]:
    """Of tars their paths below the image root, with which the names of their images begin.

    Raises:
        PreprocessingError: one does not lie below it.
    """
    root = image_root(config)
    tars = (catalog_path(one_file(config, file)) for file in files)
    return [tar_below_root(tar, root, config.SECTION) for tar in tars]
