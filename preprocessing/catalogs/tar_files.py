"""Which tars a WebDataset is made of: one, those of a folder, or those of a pattern.

Patterns are as WebDataset and shells have them: `train-{000000..000146}.tar`, `{train,val}-*.tar`.
"""

import fnmatch
import os
import posixpath
import re
from collections.abc import Iterator
from itertools import chain, islice, pairwise
from pathlib import Path

from upath import UPath

from manylabel.preprocessing.catalogs.remote import list_remote
from manylabel.preprocessing.catalogs.sample_files import PICTURES
from manylabel.preprocessing.errors import PreprocessingError
from manylabel.storage.locations import is_local

SUFFIX = ".tar"
COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst", ".tzst")

MAX_FILES = 100_000
"""That braces may stand for."""

_MARK = re.compile(r"[*?\[{]")
_GLOB = re.compile(r"[*?\[]")
_RANGE = re.compile(r"(-?\d+)\.\.(-?\d+)(?:\.\.([1-9]\d*))?|([A-Za-z])\.\.([A-Za-z])")


def is_pattern(text: str) -> bool:
    """Whether it may stand for several tars."""
    return text.lower().endswith(SUFFIX) and _MARK.search(text) is not None


def check_not_compressed(path: UPath, name: str) -> None:
    """Raises PreprocessingError for a tar, of this path, in which no place can be found."""
    if name.lower().endswith(COMPRESSED):
        raise PreprocessingError(
            f"{path}: expected a tar, received one that is compressed, in which pictures cannot be "
            "found one by one; unpack it with gunzip, bunzip2, unxz or unzstd"
        )


def tar_below_root(tar: UPath, root: UPath, section: str) -> str:
    """A tar's path as its images have it.

    Args:
        tar: As the settings spell it.
        root: Of the images, resolved.
        section: Of these settings, for errors.

    Raises:
        PreprocessingError: it does not lie below the root, or is a link to where others cannot
            follow.
    """
    if not isinstance(root, Path):
        below = posixpath.relpath(tar.path, root.path)
        if not below.startswith(".."):
            return below
        raise _not_below(tar, root, tar.path, section)
    text = os.path.expanduser(tar.path)
    lies = os.path.join(os.path.realpath(os.path.dirname(text)), os.path.basename(text))
    for place in (lies, os.path.realpath(text)):
        if os.path.commonpath([place, root]) != str(root):
            raise _not_below(tar, root, place, section)
    return os.path.relpath(lies, root)


def _not_below(tar: UPath, root: UPath, place: str, section: str) -> PreprocessingError:
    return PreprocessingError(
        f"{tar}: expected a tar below {root}, received one that lies at {place}; set "
        f"{section}.image_root to a folder above both"
    )


def folder_of_pattern(pattern: str) -> str:
    """The folder below which all that it stands for lie."""
    return _start(pattern) or "."


def is_folder_of_tars(folder: UPath) -> bool:
    """Whether it has tars, no other folders and no pictures: else it is a tree of pictures.

    What is written beside tars are lists and counts, as img2dataset's Parquet files are.
    """
    tars = False
    for name, is_folder in _entries(folder, ""):
        kind = posixpath.splitext(name)[1].lower()
        if is_folder or kind.removeprefix(".") in PICTURES:
            return False
        tars = tars or kind == SUFFIX or name.lower().endswith(COMPRESSED)
    return tars


def list_tars(folder: UPath) -> list[str]:
    """Names of the tars in a folder, sorted; raises PreprocessingError if one is compressed."""
    names = sorted(name for name, is_folder in _entries(folder, "") if not is_folder)
    for name in names:
        check_not_compressed(folder / name, name)
    return [name for name in names if name.lower().endswith(SUFFIX)]


def match_tars(pattern: str, folder: UPath) -> list[str]:
    """Paths, below its folder, of the tars that a pattern stands for, in its order and once each.

    Args:
        pattern: Of which `folder_of_pattern` gave the folder.
        folder: Which must be there.

    Raises:
        PreprocessingError: there is none, or one that braces name is missing.
    """
    listed: dict[str, dict[str, bool]] = {}
    found: dict[str, None] = {}
    named, missing = 0, []
    expanded = list(islice(expand_braces(pattern.removeprefix(_start(pattern))), MAX_FILES + 1))
    if len(expanded) > MAX_FILES:
        raise PreprocessingError(
            f"{pattern}: expected braces that stand for at most {MAX_FILES:,} files"
        )
    for path in expanded:
        matches = _match(path.split("/"), "", folder, listed)
        found.update(dict.fromkeys(matches))
        if not _GLOB.search(path):
            named += 1
            if not matches:
                missing.append(path)
    if missing:
        raise PreprocessingError(
            f"{pattern}: {len(missing):,} of the {named:,} files that braces name are not there, "
            f"the first is {missing[0]}"
        )
    if not found:
        raise PreprocessingError(f"{pattern}: expected tars, received a pattern that fits no file")
    return list(found)


def expand_braces(pattern: str) -> Iterator[str]:
    """What Bash makes of braces: `{a,b}`, `{1..3}`, `{000..146}`, `{a..e}`, inside of each other
    as well; what is none of these stands for itself."""
    opened = _matching_braces(pattern)
    if opened is None:
        yield pattern
        return
    start, end, commas = opened
    before, inner = pattern[:start], pattern[start + 1 : end]
    if commas:
        edges = [start, *commas, end]
        parts = (pattern[a + 1 : b] for a, b in pairwise(edges))
        choices: Iterator[str] = chain.from_iterable(map(expand_braces, parts))
    elif (span := _RANGE.fullmatch(inner)) is not None:
        choices = _span(span)
    else:
        choices = ("{" + text + "}" for text in expand_braces(inner))
    for choice in choices:
        for after in expand_braces(pattern[end + 1 :]):
            yield before + choice + after


def _matching_braces(pattern: str) -> tuple[int, int, list[int]] | None:
    """Of the first that are closed: where they open and close, and commas right inside of them."""
    for start in (at for at, mark in enumerate(pattern) if mark == "{"):
        depth = 0
        commas: list[int] = []
        for at in range(start, len(pattern)):
            depth += {"{": 1, "}": -1}.get(pattern[at], 0)
            if depth == 0:
                return start, at, commas
            if depth == 1 and pattern[at] == ",":
                commas.append(at)
    return None


def _span(span: re.Match[str]) -> Iterator[str]:
    first, last, step, first_letter, last_letter = span.groups()
    if first_letter:
        begin, end = ord(first_letter), ord(last_letter)
        way = 1 if begin <= end else -1
        return (chr(code) for code in range(begin, end + way, way))
    begin, end = int(first), int(last)
    way = int(step or 1) * (1 if begin <= end else -1)
    is_padded = any(re.match(r"-?0\d", text) for text in (first, last))
    width = max(len(first), len(last)) if is_padded else 0
    return (f"{number:0{width}d}" for number in range(begin, end + (1 if way > 0 else -1), way))


def _start(pattern: str) -> str:
    """What stands before the first folder or name that may be several, with its last slash."""
    mark = _MARK.search(pattern)
    before = pattern[: mark.start()] if mark else pattern
    return before[: before.rfind("/") + 1]


def _match(
    parts: list[str], above: str, folder: UPath, listed: dict[str, dict[str, bool]]
) -> list[str]:
    """Paths of files below the folder, sorted; `listed` keeps the folders that were looked into."""
    name, *below = parts
    if above not in listed:
        listed[above] = dict(_entries(folder, above))
    entries = listed[above]
    if not _GLOB.search(name):
        names = [name] if name in entries else []
    else:
        names = sorted(entry for entry in entries if fnmatch.fnmatchcase(entry, name))
    names = [entry for entry in names if entries[entry] is bool(below)]
    paths = [posixpath.join(above, entry) for entry in names]
    if not below:
        return paths
    return [found for path in paths for found in _match(below, path, folder, listed)]


def _entries(folder: UPath, below: str) -> Iterator[tuple[str, bool]]:
    """Visible names in a folder, in no order, and whether each is a folder."""
    path = posixpath.join(folder.path, below)
    if is_local(folder):
        with os.scandir(path) as entries:
            yield from ((each.name, each.is_dir()) for each in entries if each.name[0] != ".")
        return
    for entry in list_remote(folder.fs, path):
        name = posixpath.basename(entry["name"].rstrip("/"))
        if name and name[0] != ".":
            yield name, entry["type"] == "directory"
