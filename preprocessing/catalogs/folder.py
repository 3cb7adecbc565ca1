"""Folder trees: an image at `animals/cats/tom.jpg` has the labels `animals` and `cats`."""

import os
from collections.abc import Iterator
from pathlib import PurePosixPath

from upath import UPath

from manylabel.preprocessing.catalogs.rows import CatalogRow
from manylabel.preprocessing.config import CatalogConfig


def read_folder(config: CatalogConfig) -> Iterator[CatalogRow]:
    """Every file below the root, sorted by path within each folder, so that reading is repeatable.

    Hidden files and folders are left out: they hold settings and thumbnails. Files that are no
    images are listed like the others and rejected later, where they are counted. A file in the
    root itself has no label. Links to folders are not followed.
    """
    root = UPath(config.path).path
    for directory, folders, files in os.walk(root, onerror=_fail):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        relative = PurePosixPath(os.path.relpath(directory, root))
        labels: list[str | None] = [_text(part) for part in relative.parts]
        for name in sorted(files):
            if name.startswith("."):
                continue
            image = _text(str(relative / name))
            for label in labels or [None]:
                yield CatalogRow(image, label, 1.0, None)


def _text(name: str) -> str:
    """A file name that is not UTF-8 is spelled with escapes; it is then reported as missing."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _fail(error: OSError) -> None:
    raise error
