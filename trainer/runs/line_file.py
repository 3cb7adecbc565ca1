"""A file of lines that grows for months: cut at its end, and thinned at its beginning."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from manylabel.storage.atomic import TEMPORARY_PATTERN, replacing

_BLOCK = 1 << 16


def cut_behind(path: Path, stays: Callable[[bytes, int], bool]) -> None:
    """Cuts a file behind the last line that stays, which is looked for from the end.

    A last line without its end was being written when a job died, and goes.

    Args:
        stays: told a line with its end, and the byte at which it begins.
    """
    with path.open("r+b") as file:
        size, keep = file.seek(0, os.SEEK_END), 0
        for begin, line in _backwards(file):
            if line.endswith(b"\n") and stays(line, begin):
                keep = begin + len(line)
                break
        if keep < size:
            file.truncate(keep)


def thin(path: Path) -> None:
    """Drops every other line of the older half of a file; its first one stays.

    By a copy that takes its place, so that a reader sees one or the other. One line at a time is
    held.

    Raises:
        OSError: the copy cannot be written; the file is as it was.
    """
    half, offset = path.stat().st_size // 2, 0
    with path.open("rb") as old, replacing(path) as new:
        for number, line in enumerate(old):
            if offset >= half or number % 2 == 0:
                new.write(line)
            offset += len(line)


def clear_copies(path: Path) -> None:
    """Removes the copies that jobs left which were killed while they thinned the file.

    No job may be writing.

    Raises:
        OSError: one cannot be removed.
    """
    for copy in path.parent.glob(f"{path.name}{TEMPORARY_PATTERN[1:]}"):
        copy.unlink(missing_ok=True)


def _backwards(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Each line, the last one first, and the byte at which it begins."""
    position, rest = file.seek(0, os.SEEK_END), b""
    while position > 0:
        size = min(_BLOCK, position)
        position -= size
        file.seek(position)
        rest = file.read(size) + rest
        # The first line of the block may begin before it.
        whole = 0 if position == 0 else rest.find(b"\n") + 1
        if position > 0 and whole == 0:
            continue
        end = len(rest)
        while end > whole:
            begin = max(rest.rfind(b"\n", whole, end - 1) + 1, whole)
            yield position + begin, rest[begin:end]
            end = begin
        rest = rest[:whole]
