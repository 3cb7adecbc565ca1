"""A folder of parts, as Spark, Dask, Beam and pandas write one table."""

import os
import posixpath
from collections.abc import Callable, Iterator
from typing import TypeVar
from urllib.parse import unquote

from upath import UPath

from manylabel.preprocessing.catalogs.machine_names import MACHINE_NAMES
from manylabel.preprocessing.errors import PreprocessingError
from manylabel.storage.locations import is_local

_T = TypeVar("_T")

_NO_VALUE = "__HIVE_DEFAULT_PARTITION__"


def kind_of_parts(folder: UPath, kind_of: Callable[[str], _T | None]) -> _T | None:
    """What all files in the tree are by their names; None where they are not of one kind.

    Looks no further than to a file that is of none, which among pictures is the first.

    Args:
        folder: The root of the tree.
        kind_of: The kind of a name.
    """
    kinds: set[_T] = set()
    waiting = [""]
    while waiting:
        above = waiting.pop()
        for name, is_folder in _entries(folder, above):
            if is_folder:
                waiting.append(posixpath.join(above, name))
                continue
            kind = kind_of(name)
            if kind is None or kinds - {kind}:
                return None
            kinds.add(kind)
    return next(iter(kinds), None)


def list_parts(folder: UPath) -> list[str]:
    """Paths below the folder of all its files, sorted by name folder by folder.

    Left out is what such writers leave beside the parts (`_SUCCESS`, `_metadata`, `_temporary`,
    `.part-0.parquet.crc`): names that begin with `_` or a dot, checksums, and what machines
    leave (`Thumbs.db`). A link to a folder is given like a file, and not entered.

    Raises:
        PreprocessingError: it is a table of Delta Lake or Iceberg.
    """
    _check_not_versioned(folder)
    parts = []
    waiting = [""]
    while waiting:
        above = waiting.pop()
        entries = sorted(_entries(folder, above))
        parts += [posixpath.join(above, name) for name, is_folder in entries if not is_folder]
        waiting += [posixpath.join(above, name) for name, is_folder in entries[::-1] if is_folder]
    return parts


def columns_of_folders(path: str) -> dict[str, str | None]:
    """Columns that the names of the folders above a part give it, as Hive does: `split=train`.

    Args:
        path: Of the part, below the folder of the table; empty for a table of one file.
    """
    columns = {}
    for folder in posixpath.dirname(path).split("/"):
        name, equals, value = folder.partition("=")
        if name and equals:
            columns[unquote(name)] = None if value == _NO_VALUE else unquote(value)
    return columns


def _entries(folder: UPath, below: str) -> Iterator[tuple[str, bool]]:
    """Pairs (name, whether it is a folder), in no order."""
    if is_local(folder):
        with os.scandir(os.path.join(folder.path, below)) as entries:
            found = ((each.name, each.is_dir(follow_symlinks=False)) for each in entries)
            yield from ((name, is_folder) for name, is_folder in found if _counts(name))
        return
    for entry in folder.fs.ls(posixpath.join(folder.path, below), detail=True):
        name = posixpath.basename(entry["name"].rstrip("/"))
        if _counts(name):
            yield name, entry["type"] == "directory"


def _counts(name: str) -> bool:
    is_left = name.lower() in MACHINE_NAMES
    return not (is_left or name.startswith(("_", ".")) or name.endswith(".crc"))


def _check_not_versioned(folder: UPath) -> None:
    """Parts that were deleted stay beside those that hold."""
    metadata = folder / "metadata"
    if (folder / "_delta_log").is_dir():
        kind = "Delta Lake"
    elif metadata.is_dir() and any(
        each.name.endswith(".metadata.json") for each in metadata.iterdir()
    ):
        kind = "Iceberg"
    else:
        return
    raise PreprocessingError(
        f"{folder}: expected the parts of a table, received a table of {kind}, of which only some "
        "parts hold; write what it holds now as plain Parquet, and name that"
    )
