"""Open Images' classes: what they are called, and which are kinds of which."""

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import Any, NamedTuple

from manylabel.preprocessing.catalog_config import CatalogConfig
from manylabel.preprocessing.catalogs.class_names import label_names
from manylabel.preprocessing.catalogs.files import one_file
from manylabel.preprocessing.catalogs.text_file import open_text
from manylabel.preprocessing.errors import PreprocessingError
from manylabel.preprocessing.label_sets import OpenImagesConfig
from manylabel.storage.errors import printable

MAX_BYTES = 64 << 20
"""Largest file of classes; V7's 20,000 take half a megabyte."""


class Classes(NamedTuple):
    """What the files beside the labels say.

    Attributes:
        labels: What a class is called; one that is not in it is called by its identifier.
        parents: The labels that a label is directly a kind of; in no circle.
    """

    labels: Mapping[str, str]
    parents: Mapping[str, Sequence[str]]


def read_classes(config: CatalogConfig) -> Classes:
    """The classes of a catalog of Open Images.

    Raises:
        PreprocessingError: another kind of file, a class with two names, or a class that is a kind
            of itself.
    """
    settings = config.open_images or OpenImagesConfig()
    names: dict[str, str] = {}
    if settings.class_descriptions is not None:
        names = _read_names(config, settings.class_descriptions)
    labels = label_names(names)
    parents: dict[str, Sequence[str]] = {}
    if settings.hierarchy is not None:
        parents = {
            labels.get(name, name): [labels.get(other, other) for other in above]
            for name, above in _read_parents(config, settings.hierarchy).items()
        }
    return Classes(labels, parents)


def _read_names(config: CatalogConfig, path: str) -> dict[str, str]:
    names: dict[str, str] = {}
    reader = csv.reader(io.StringIO(_read(config, path), newline=""), strict=True)
    try:
        for cells in reader:
            if not cells or cells == ["LabelName", "DisplayName"]:
                continue
            if len(cells) != 2:
                received = f"received {len(cells)} cells"
                raise _error(
                    path, f"line {reader.line_num}: expected a class and its name", received
                )
            name, shown = cells
            if names.setdefault(name, shown) != shown:
                received = f"received {names[name]!r} and {shown!r}"
                raise _error(path, f"line {reader.line_num}: expected one name of {name}", received)
    except csv.Error as error:
        raise _error(path, f"line {reader.line_num}: expected CSV", f"received {error}") from error
    return names


def _read_parents(config: CatalogConfig, path: str) -> dict[str, list[str]]:
    """Of each class those that it is directly a kind of. The outermost is no class: all are kinds
    of it."""
    try:
        tree = json.loads(_read(config, path))
    except json.JSONDecodeError as error:
        raise _error(path, "expected JSON", str(error)) from error
    except RecursionError as error:
        raise _error(path, "expected classes in some levels", "received thousands") from error
    except ValueError as error:  # Python's, of a number of thousands of digits.
        raise _error(path, "expected names of classes", f"received {error}") from error
    parents: dict[str, dict[str, None]] = {}
    for name, parent in _edges(tree, path):
        parents.setdefault(name, {})[parent] = None
    try:
        TopologicalSorter(parents).prepare()
    except CycleError as error:
        circle = " > ".join(error.args[1])
        raise _error(
            path, "expected no class to be a kind of itself", f"received {circle}"
        ) from error
    return {name: list(above) for name, above in parents.items()}


def _edges(tree: Any, path: str) -> Iterator[tuple[str, str]]:
    """Pairs (class, one that it is a kind of).

    What is a part of a class (`Part`) is no kind of it, but has kinds of its own.
    """
    waiting = [(tree, True)]
    while waiting:
        node, is_root = waiting.pop()
        name = _name(node, path)
        for key in ("Subcategory", "Part"):
            below = node.get(key, [])
            if not isinstance(below, list):
                raise _error(path, f"{name}: expected a list for {key}", f"received {below!r:.100}")
            waiting += [(each, False) for each in below]
        if not is_root:
            yield from ((_name(kind, path), name) for kind in node.get("Subcategory", []))


def _name(node: Any, path: str) -> str:
    name = node.get("LabelName") if isinstance(node, dict) else None
    if not isinstance(name, str) or not name:
        raise _error(path, "expected objects with a text LabelName", f"received {node!r:.100}")
    return name


def _read(config: CatalogConfig, path: str) -> str:
    with open_text(one_file(config, path), "classes of Open Images") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise _error(path, f"expected at most {MAX_BYTES:,} bytes of classes", "received more")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        received = f"received byte 0x{data[error.start]:02x}"
        raise _error(path, f"line {line}: expected UTF-8", received) from error


def _error(path: str, expected: str, received: str) -> PreprocessingError:
    return PreprocessingError(f"{path}: {printable(f'{expected}, {received}')}")
