"""Which catalogs there are, where they and their images lie, and of which format they are."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO
from urllib.parse import unquote

from upath import UPath

from manylabel.preprocessing.catalog_config import CatalogConfig, CatalogFormat
from manylabel.preprocessing.catalogs.kinds import HEAD_BYTES, is_ml_images, kind_of
from manylabel.preprocessing.catalogs.parts import kind_of_parts
from manylabel.preprocessing.catalogs.tar_files import (
    check_not_compressed,
    folder_of_pattern,
    is_folder_of_tars,
    is_pattern,
)
from manylabel.preprocessing.config import PreprocessingConfig
from manylabel.preprocessing.errors import PreprocessingError
from manylabel.storage.errors import described
from manylabel.storage.locations import is_local
from manylabel.storage.schema import SplitName
from manylabel.storage.usable_paths import refuse_unusable

TABLES = frozenset({CatalogFormat.CSV, CatalogFormat.JSONL, CatalogFormat.PARQUET})
"""Formats of rows with columns."""

_LABEL_SETS = frozenset({CatalogFormat.COCO, CatalogFormat.OPEN_IMAGES, CatalogFormat.ML_IMAGES})
_OF_FILES = TABLES | {CatalogFormat.WEBDATASET} | _LABEL_SETS
_OF_FOLDERS = TABLES | {CatalogFormat.WEBDATASET, CatalogFormat.FOLDER}
"""A folder may hold the parts of a table."""

_PACKED = frozenset({CatalogFormat.CSV, CatalogFormat.JSONL}) | _LABEL_SETS
"""Formats that may be packed by gzip."""

_SUFFIXES = {
    **dict.fromkeys((".csv", ".tsv"), CatalogFormat.CSV),
    **dict.fromkeys((".jsonl", ".ndjson"), CatalogFormat.JSONL),
    **dict.fromkeys((".parquet", ".parq", ".pq"), CatalogFormat.PARQUET),
    ".json": CatalogFormat.COCO,
    ".tar": CatalogFormat.WEBDATASET,
}
"""By which a file's format is found, in lower case and without .gz."""


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
        if path.protocol in ("http", "https"):
            raise _tars_over_http(config)
        return CatalogFormat.WEBDATASET
    if not path.exists():
        raise PreprocessingError(
            f"{path}: no such catalog{_there_instead(config.path)}; set {config.SECTION}.path to a "
            "CSV or Parquet file, to a folder of images or to tars"
        )
    found = config.format
    is_folder = path.is_dir()
    if found is CatalogFormat.AUTO and is_folder:
        found = _kind_of_folder(path)
    elif found is CatalogFormat.AUTO:
        by_name = _by_suffix(path.name)
        if by_name is None:
            raise _unknown_suffix(path, config.SECTION)
        found = by_name
    if found not in (_OF_FOLDERS if is_folder else _OF_FILES):
        received = "a folder" if is_folder else "a file"
        if found in _LABEL_SETS:
            raise PreprocessingError(
                f"{path}: expected a file of the format {found}, received a folder; set "
                f"{config.SECTION}.path to the file with the labels, and image_root to where the "
                "pictures are"
            )
        raise PreprocessingError(
            f"{path}: expected a catalog of format {found}, received {received}; set "
            f"{config.SECTION}.format to auto"
        )
    for setting in ("delimiter", "header"):
        if config.is_set(setting) and found is not CatalogFormat.CSV:
            raise PreprocessingError(
                f"{path}: {config.SECTION}.{setting} is {getattr(config, setting)!r}, which is for "
                f"CSV, but the catalog's format is {found}; remove that setting, or set "
                f"{config.SECTION}.format to csv"
            )
    is_http = path.protocol in ("http", "https")
    if is_http and is_folder:
        raise PreprocessingError(
            f"{path}: expected a folder that can be listed, received one of HTTP, which has no "
            "lists; name its images in a CSV or Parquet file"
        )
    if is_http and found is CatalogFormat.WEBDATASET:
        raise _tars_over_http(config)
    if not is_folder and not path.is_file():
        raise PreprocessingError(
            f"{path}: expected a file, which can be read more than once, received a pipe or a "
            "device; write the catalog to a file"
        )
    return found


def _tars_over_http(config: CatalogConfig) -> PreprocessingError:
    return PreprocessingError(
        f"{config.path}: expected tars on storage where pictures can be read by their places, "
        f"received HTTP; download them, and set {config.SECTION}.path to where they are then"
    )


def _there_instead(text: str) -> str:
    """What may be wrong with a local path that was written as a URL, if there is such a file."""
    path = re.sub(r"^(file|local):(//(localhost)?(?=/))?", "", text)
    for remark, other in (
        ("as a plain path", path),
        ("without the escapes of a URL", unquote(path)),
    ):
        if other != text and os.path.exists(other):
            return f"; there is one {remark}, {other}"
    return ""


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
        is_root = path.is_dir() and detect_format(config) not in TABLES
        root = path if is_root else path.parent
    if not root.is_dir():
        if config.image_root is None:
            detect_format(config)
        raise PreprocessingError(
            f"{root}: no such directory; set {config.SECTION}.image_root to where the "
            "catalog's image paths start"
        )
    if root.protocol in ("file", "local"):
        root = UPath(root.path)
    return root.resolve()


def root_spellings(config: CatalogConfig) -> tuple[str, ...]:
    """How absolute paths of images below the root may begin: as the settings spell it, and as it is
    behind links; the longest first."""
    root = image_root(config)
    if not is_local(root):
        return tuple({str(root), *([config.image_root] if config.image_root else [])})
    given = config.image_root or os.path.dirname(catalog_path(config).path)
    spelled = os.path.abspath(os.path.expanduser(UPath(given).path))
    paths = {str(root), *([spelled] if os.path.realpath(spelled) == str(root) else [])}
    return tuple(sorted({*paths, *(f"file://{path}" for path in paths)}, key=len, reverse=True))


def _open_location(text: str, setting: str) -> UPath:
    try:
        refuse_unusable(os.path.expanduser(text))
    except ValueError as error:
        raise PreprocessingError(f"{setting}: {error}") from error
    try:
        path = UPath(os.path.expanduser(text))
        if not is_local(path):
            storage = path.fs
            with suppress(FileNotFoundError):
                storage.info(path.path)  # exists() is False as well where no one answers.
    except Exception as error:  # Each kind of storage has its own, also for a missing package.
        reason = described(error)
        raise PreprocessingError(
            f"{text}: expected a path or a URL for {setting}, received one "
            f"that cannot be opened ({reason}); write ./ before a path that looks like a URL"
        ) from error
    return path


def _kind_of_folder(path: UPath) -> CatalogFormat:
    found = kind_of_parts(path, _by_suffix)
    if found is None and is_folder_of_tars(path):
        return CatalogFormat.WEBDATASET
    return found or CatalogFormat.FOLDER


def _by_suffix(name: str) -> CatalogFormat | None:
    name = name.lower()
    plain = name.removesuffix(".gz")
    found = next((found for end, found in _SUFFIXES.items() if plain.endswith(end)), None)
    return found if plain == name or found in _PACKED else None


def _unknown_suffix(path: UPath, section: str) -> PreprocessingError:
    check_not_compressed(path, path.name)
    received, remedy = "another", f"set {section}.format to what it is"
    if path.is_file():
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
        kind = kind_of(head)
        if kind is not None:
            received, remedy = kind.name, kind.remedy.replace("SECTION", section)
        elif is_ml_images(head):
            received, remedy = "text of ML-Images", f"set {section}.format to ml_images"
    return PreprocessingError(
        f"{path}: expected a file that ends in {' or '.join(_SUFFIXES)}, or a folder, received "
        f"{received}; {remedy}"
    )
