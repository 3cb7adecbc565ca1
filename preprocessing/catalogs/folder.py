"""Folder trees: an image at `animals/cats/tom.jpg` has the labels `animals` and `cats`."""

import errno
import os
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

import pyarrow as pa
from upath import UPath

from manylabel.preprocessing.catalog_config import CatalogConfig
from manylabel.preprocessing.catalogs.location import catalog_path
from manylabel.preprocessing.catalogs.machine_names import MACHINE_NAMES
from manylabel.preprocessing.catalogs.remote import list_remote
from manylabel.preprocessing.catalogs.rows import BATCH_ROWS, raw_table
from manylabel.preprocessing.errors import PreprocessingError
from manylabel.storage.locations import is_local

HIDDEN = ".*"
"""Under what hidden files and folders are counted; macOS may leave one for each image."""

MOST_LINKS_TO_A_FOLDER = 1000
"""Nine folders that link to each other have a million paths, ten have ten millions."""

_NOT_TO_BE_FOLLOWED = frozenset({errno.ELOOP, errno.EACCES, errno.ENAMETOOLONG})
"""Of a link: it leads nowhere, which is no fault of the disk's."""


class Folder(NamedTuple):
    """One folder of a tree.

    Attributes:
        parts: Names of the folders from below the root to this one: the labels of its images.
        names: Its files, sorted.
        outside: Whether it was reached through a link that leaves the root; fetching refuses it.
    """

    parts: tuple[str, ...]
    names: list[str]
    outside: bool


def read_folder(config: CatalogConfig, batch_rows: int = BATCH_ROWS) -> Iterator[pa.Table]:
    """Tables of `rows.raw_table`: each file that `walk_folder` finds, with each of its labels.

    Files that are no images are listed like the others and rejected later, where they are counted.
    A file in the root itself has no label.
    """
    images: list[str] = []
    labels: list[str | None] = []
    for folder in walk_folder(config, Counter()):
        prefix = "".join(f"{part}/" for part in folder.parts)
        parts = folder.parts or (None,)
        for name in folder.names:
            if len(images) + len(parts) > batch_rows:
                yield raw_table(_text(images), _text(labels), None, None)
                images, labels = [], []
            images.extend([prefix + name] * len(parts))
            labels.extend(parts)
    if images:
        yield raw_table(_text(images), _text(labels), None, None)


def walk_folder(config: CatalogConfig, left_out: Counter[str]) -> Iterator[Folder]:
    """Every folder before those in it, sorted by name, so that reading is repeatable.

    Left out, and counted by name in `left_out`: what is hidden, what machines leave, and links to
    folders that the link itself lies in. Other links to folders are followed; a link to nothing is
    listed as a file. On other storage than local disks no link is followed. Memory: the names of
    the largest folder.
    """
    path = catalog_path(config)
    if not is_local(path):
        yield from _walk_remote(path, left_out)
        return
    root = os.path.realpath(path.path)
    # Each with the folders above it and their real paths, of which links keep those they leave: a
    # tree may have millions of folders. The root is like a link from nowhere.
    waiting: list[tuple[tuple[str, ...], tuple[str, ...], str, str]] = [((), (), "", root)]
    followed: Counter[str] = Counter()
    while waiting:
        above, real, name, target = waiting.pop()
        followed[target] += bool(target)
        if followed[target] > MOST_LINKS_TO_A_FOLDER:
            raise PreprocessingError(
                f"{os.path.join(root, *above, name)}: expected a tree of folders, received links "
                f"that lead to {target} on more than {MOST_LINKS_TO_A_FOLDER:,} ways; remove links "
                "between folders, or list the images in a CSV or Parquet file"
            )
        parts = (*above, name) if name else ()
        real = (*real, target) if target else (*real[:-1], os.path.join(real[-1], name))
        names, below = _scan(os.path.join(root, *parts), real, left_out)
        if names:
            yield Folder(parts, names, not _is_below(real[-1], root))
        waiting.extend((parts, real, name, target) for name, target in reversed(below))


def _walk_remote(root: UPath, left_out: Counter[str]) -> Iterator[Folder]:
    waiting: list[tuple[str, ...]] = [()]
    while waiting:
        parts = waiting.pop()
        names, below = _list(root, parts, left_out)
        if names:
            yield Folder(parts, names, outside=False)
        waiting.extend((*parts, name) for name in reversed(below))


def _list(
    root: UPath, parts: tuple[str, ...], left_out: Counter[str]
) -> tuple[list[str], list[str]]:
    """Files and folders, both sorted; where a folder's name is empty (`a//b.jpg`), no path leads
    to what it holds, and it is left out."""
    path = "/".join((root.path.rstrip("/"), *parts))
    names: list[str] = []
    folders: list[str] = []
    for entry in list_remote(root.fs, path or "/"):
        name = entry["name"].rstrip("/")
        is_folder = entry["type"] == "directory"
        if name.strip("/") == path.strip("/"):  # An object of that name may stand for the folder.
            left_out["//"] += is_folder and entry["name"].endswith("/")
            continue
        name = name.rpartition("/")[2]
        if _is_left_out(name, left_out):
            continue
        if is_folder and entry.get("islink"):
            left_out[_spelled(name)] += 1
        else:
            (folders if is_folder else names).append(name)
    return sorted(names), sorted(folders)


def _is_left_out(name: str, left_out: Counter[str]) -> bool:
    """Whether it is hidden, or what machines leave; counted."""
    if name[0] == ".":
        left_out[HIDDEN] += 1
    elif name.lower() in MACHINE_NAMES:
        left_out[name] += 1
    else:
        return False
    return True


def _scan(
    path: str, real: tuple[str, ...], left_out: Counter[str]
) -> tuple[list[str], list[tuple[str, str]]]:
    """Files, and folders with where they lead if they are links; both sorted."""
    names: list[str] = []
    folders: list[tuple[str, str]] = []
    with os.scandir(path) as entries:
        for entry in entries:
            name = entry.name
            if _is_left_out(name, left_out):
                continue
            if not _is_folder(entry):
                names.append(name)
            else:
                target = os.path.realpath(entry.path) if entry.is_symlink() else ""
                if target and any(_is_below(folder, target) for folder in real):
                    left_out[_spelled(name)] += 1
                else:
                    folders.append((name, target))
    names.sort()
    folders.sort()
    return names, folders


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether it is one, or a link to one."""
    try:
        return entry.is_dir()
    except OSError as error:
        if error.errno in _NOT_TO_BE_FOLLOWED:
            return False
        raise


def _is_below(path: str, folder: str) -> bool:
    """Whether it is the folder or lies in it; both are real paths."""
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def _text(names: list[str] | list[str | None]) -> pa.Array:
    """A name that is not UTF-8 is spelled with escapes; it is then reported as missing."""
    try:
        return pa.array(names, pa.string())
    except UnicodeEncodeError:
        return pa.array([name and _spelled(name) for name in names], pa.string())


def _spelled(name: str) -> str:
    return os.fsencode(name).decode("utf-8", "backslashreplace")
