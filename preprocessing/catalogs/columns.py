"""Which columns of a table are what the settings say."""

import fnmatch
import re
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field

from manylabel.preprocessing.catalog_config import CatalogConfig, LabelCells
from manylabel.preprocessing.errors import PreprocessingError

MAX_SHOWN = 1000
"""Characters of a header in an error; a file of another kind may have a line of megabytes."""


_INDEX_COLUMN = re.compile(r"(\s*|Unnamed: \d+|__index_level_\d+__)$")
"""A column of row numbers that pandas writes beside the table's own; no label has such a name."""


_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)$")
"""A cell of a row of data, sooner than a column's name."""


_OPEN_IMAGES = ("ImageID", "Source", "LabelName", "Confidence")


@dataclass(frozen=True)
class Columns:
    """Positions of a row's parts in a table; None where the settings name no column.

    Attributes:
        labels: Of each label of a wide table its column, in the table's order, or, where labels
            are in the cells, of each such column; then `label` and `confidence` are None.
    """

    image: int
    label: int | None = None
    confidence: int | None = None
    group: int | None = None
    split: int | None = None
    labels: Mapping[str, int] = field(default_factory=dict)

    def all(self) -> list[int]:
        """Each column that is to be read, once, in the table's order."""
        named = (self.image, self.label, self.confidence, self.group, self.split)
        return sorted({*self.labels.values(), *(at for at in named if at is not None)})


def find_columns(config: CatalogConfig, names: Sequence[str]) -> Columns:
    """Where the columns that the settings name are.

    A column of confidences is read if it is there: what nobody asked for may be missing.

    Raises:
        PreprocessingError: a column is missing, or is there more than once.
    """
    wanted = ["image_column", "group_column", "split_column"]
    if not config.label_columns:
        wanted.insert(1, "label_column")
        if config.is_set("confidence_column") or any(map(_is_like("confidence"), names)):
            wanted.append("confidence_column")
    _refuse_missing(config, names, wanted)
    found = {setting: _find_column(config, names, setting) for setting in wanted}
    image, group, split = (found[f"{part}_column"] for part in ("image", "group", "split"))
    assert image is not None
    if config.label_columns:
        labels = _find_label_columns(config, names, {image, group, split})
        return Columns(image, group=group, split=split, labels=labels)
    return Columns(image, found["label_column"], found.get("confidence_column"), group, split)


def _is_like(name: str) -> Callable[[str], bool]:
    """Whether a column is called so, but for case and white space around it."""
    return lambda column: column.strip().casefold() == name


def _refuse_missing(config: CatalogConfig, names: Sequence[str], wanted: Sequence[str]) -> None:
    """Names all that are missing, so that they need not be found one by one."""
    missing = [each for each in wanted if getattr(config, each) not in (None, *names)]
    if not missing:
        return
    columns = " and ".join(repr(getattr(config, setting)) for setting in missing)
    expected = f"{config.path}: expected {'columns' if len(missing) > 1 else 'a column'} {columns}"
    if not names:
        raise PreprocessingError(f"{expected}, received an empty file")
    if set(_OPEN_IMAGES) <= set(names):
        raise PreprocessingError(
            f"{expected}, received the labels of Open Images; set {config.SECTION}.format to "
            "open_images"
        )
    remedy = f"set {' and '.join(f'{config.SECTION}.{each}' for each in missing)} to "
    if len(missing) > 1:
        remedy += "some of them"
    elif missing == ["confidence_column"]:
        remedy += "null where there is none, or to one of them"
    else:
        remedy += "one of them"
    if "label_column" in missing:
        remedy += (
            f", or {config.SECTION}.label_columns to '*' where each label has a column of its own"
        )
    if config.header and any(map(_NUMBER.match, names)):
        remedy += f", or {config.SECTION}.header to false where these are cells of the first row"
    raise PreprocessingError(f"{expected}, received columns {shown(names)}; {remedy}")


def _find_column(config: CatalogConfig, names: Sequence[str], setting: str) -> int | None:
    name = getattr(config, setting)
    if name is None:
        return None
    if names.count(name) > 1:
        raise PreprocessingError(
            f"{config.path}: expected one column {name!r}, received {names.count(name)}; "
            f"rename all but one, or set {config.SECTION}.{setting} to another"
        )
    return names.index(name)


def _find_label_columns(
    config: CatalogConfig, names: Sequence[str], others: Set[int | None]
) -> dict[str, int]:
    """The columns of labels, in the table's order.

    Args:
        config: The settings, with `label_columns`.
        names: Of all columns.
        others: Columns that other settings name, which no pattern matches.
    """
    chosen: set[int] = set()
    dropped: set[int] = set()
    setting = f"{config.SECTION}.label_columns"
    for entry in config.label_columns:
        matches = {at for at, name in enumerate(names) if name == entry}
        if matches & others:
            raise PreprocessingError(
                f"{config.path}: column {entry!r} is named by {setting} and by another setting: "
                "remove it from one of them"
            )
        if matches:
            chosen |= matches
            continue
        pattern = re.compile(fnmatch.translate(entry.removeprefix("!")))
        matches = {at for at, name in enumerate(names) if pattern.match(name)}
        if not matches:
            raise PreprocessingError(
                f"{config.path}: expected columns {entry!r}, received columns {shown(names)}; "
                f"set {setting} to some of them, or to '*' for all that no other setting names"
            )
        if entry.startswith("!"):
            dropped |= matches
        else:
            chosen |= {at for at in matches - others if not _INDEX_COLUMN.match(names[at])}
    return _each_once(config, names, sorted(chosen - dropped))


def _each_once(config: CatalogConfig, names: Sequence[str], chosen: list[int]) -> dict[str, int]:
    setting = f"{config.SECTION}.label_columns"
    if not chosen:
        raise PreprocessingError(
            f"{config.path}: expected columns of labels, received none that {setting} "
            f"{shown(config.label_columns)} leaves of {shown(names)}"
        )
    if config.label_cells is LabelCells.NAMES:
        return {str(at): at for at in chosen}  # Spreadsheets call all of them the same.
    labels: dict[str, int] = {}
    for at in chosen:
        if names[at] in labels:
            raise PreprocessingError(
                f"{config.path}: expected one column {names[at]!r} for that label, received "
                f"columns {labels[names[at]] + 1} and {at + 1}; rename one of them"
            )
        labels[names[at]] = at
    return labels


def shown(names: Sequence[str]) -> str:
    """Of a file of another kind the names may be megabytes."""
    text = str(list(names))
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."
