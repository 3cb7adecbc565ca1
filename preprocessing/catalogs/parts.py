"""A folder of Parquet parts, as Spark, Dask, Beam and pandas write one table."""

import posixpath
from collections.abc import Iterator
from itertools import chain

from upath import UPath

PARQUET_SUFFIXES = (".parquet", ".parq", ".pq")


def is_table_of_parts(folder: UPath) -> bool:
    """Whether there are files in the tree and each of them is called as a part of Parquet.

    Looks no further than to the first that is not, which in a tree of pictures is the first.
    """
    names = list_parts(folder)
    first = next(names, None)
    return first is not None and all(
        name.lower().endswith(PARQUET_SUFFIXES) for name in chain([first], names)
    )


def list_parts(folder: UPath) -> Iterator[str]:
    """Paths below the folder of all its files, sorted by name folder by folder.

    Left out is what such writers leave beside the parts (`_SUCCESS`, `_metadata`, `_temporary`,
    `.part-0.parquet.crc`): names that begin with `_` or a dot, and checksums. A link to a folder is
    given like a file, and not entered.
    """
    storage = folder.fs
    waiting = [""]
    while waiting:
        above = waiting.pop()
        below = []
        path = posixpath.join(folder.path, above)
        for entry in sorted(storage.ls(path, detail=True), key=lambda entry: entry["name"]):
            name = posixpath.basename(entry["name"].rstrip("/"))
            if name.startswith(("_", ".")) or name.endswith(".crc"):
                continue
            if entry["type"] == "directory" and not entry.get("islink"):
                below.append(posixpath.join(above, name))
            else:
                yield posixpath.join(above, name)
        waiting += reversed(below)
