"""The row that all catalogs have in common, and the columns it is read from."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from manylabel.preprocessing.config import CatalogConfig
from manylabel.preprocessing.errors import PreprocessingError


@dataclass(frozen=True)
class CatalogRow:
    """One pair of image and label, as the catalog spells it.

    `confidence` is text when a CSV gave it; whether it is a number in [0, 1] is decided later,
    where a bad one can be counted. `label` is None for an image that is listed without one, and
    `group` for an image without a group.
    """

    image: str
    label: str | None
    confidence: str | float
    group: str | None


class Columns(NamedTuple):
    """Positions of a row's parts in a table; None where the settings name no column."""

    image: int
    label: int
    confidence: int | None
    group: int | None


def find_columns(config: CatalogConfig, names: Sequence[str]) -> Columns:
    """Where the columns that the settings name are.

    Raises:
        PreprocessingError: a column is missing.
    """

    def find(setting: str) -> int | None:
        name = getattr(config, setting)
        if name is None:
            return None
        if name not in names:
            hint = " or to null" if setting == "confidence_column" else ""
            raise PreprocessingError(
                f"{config.path}: expected a column {name!r}, received columns {list(names)}; "
                f"set preprocessing.catalog.{setting} to one of them{hint}"
            )
        return names.index(name)

    image, label = find("image_column"), find("label_column")
    assert image is not None
    assert label is not None
    return Columns(image, label, find("confidence_column"), find("group_column"))
