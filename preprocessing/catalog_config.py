"""Settings of a catalog: what lists the images and their labels, and in which form."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, ClassVar, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    field_validator,
    model_validator,
)

from manylabel.preprocessing.http_config import HttpConfig
from manylabel.preprocessing.label_sets import MlImagesConfig, OpenImagesConfig
from manylabel.preprocessing.webdataset_config import WebDatasetConfig
from manylabel.storage.settings import SettingsSection


class CatalogFormat(StrEnum):
    """How a catalog lists images and labels."""

    AUTO = "auto"
    CSV = "csv"
    JSONL = "jsonl"
    PARQUET = "parquet"
    FOLDER = "folder"
    WEBDATASET = "webdataset"
    COCO = "coco"
    OPEN_IMAGES = "open_images"
    ML_IMAGES = "ml_images"


def _column_name(value: object) -> object:
    """YAML makes a number of a column that goes by its number."""
    return str(value) if type(value) is int else value


def _delimiter(value: str) -> str:
    """As a character; a shell and YAML leave `\\t` as it is written."""
    character = {"tab": "\t", "\\t": "\t"}.get(value, value)
    if len(character) != 1 or not character.isascii() or character in '"\r\n\0':
        raise ValueError(
            f"expected one character of ASCII that is no quote and no line end, or tab, received "
            f"{value!r}"
        )
    return character


ColumnName = Annotated[str, BeforeValidator(_column_name)]
Delimiter = Annotated[str, AfterValidator(_delimiter)]


class LabelZeros(StrEnum):
    """What a 0 means in a column that is a label."""

    UNKNOWN = "unknown"
    ABSENT = "absent"


class LabelCells(StrEnum):
    """What the cells of a column say that `label_columns` names."""

    CONFIDENCES = "confidences"
    NAMES = "names"


class CatalogConfig(SettingsSection):
    """Where the images and their labels are listed.

    Tables are long, one row per pair of image and label, unless `label_separator` says that a cell
    has several labels, or `label_columns` that each label has a column. In a folder tree the names
    of all folders between the root and an image are its labels. In tars `webdataset` says which
    files hold the labels.

    Attributes:
        SECTION: Where these settings stand, for errors.
    """

    SECTION: ClassVar[str] = "preprocessing.catalog"

    path: str = Field(
        min_length=1, description="File, folder of the files of one table, or root of the tree."
    )
    format: CatalogFormat = Field(
        CatalogFormat.AUTO,
        description="auto: by the file's suffix (.csv, .tsv, .jsonl, .ndjson, .json of "
        "COCO, also with .gz; .parquet, .tar); a directory of files of one table alone is their "
        "format, another one folder.",
    )
    delimiter: Delimiter | None = Field(
        None,
        description="Of a CSV, the character between cells (tab: a tab); none: found from the "
        "header, and without one from the first rows, among comma, semicolon, tab and |.",
    )
    header: bool = Field(
        True,
        description="Whether the first row of a CSV names the columns; false: they go by number, "
        "the first is 0. Then the image is column 0 and the label column 1, unless their settings "
        "say another number.",
    )
    image_root: str | None = Field(
        None,
        description="Directory that image paths start from and may not leave; "
        "none: the catalog file's own directory.",
    )
    image_column: ColumnName = Field(
        "image_path", description="Column of the images' paths, or of their URLs with http."
    )
    image_suffix: str = Field(
        "", description="Of a table, what to add to its image paths, such as .jpg to bare names."
    )
    label_column: ColumnName = Field("label", description="Column of the labels.")
    label_separator: str | None = Field(
        None,
        min_length=1,
        description="What stands between the labels of a cell, such as |; json: cells are JSON "
        "lists; list: lists as Python, pandas, NumPy or PostgreSQL print them; none: a cell is one "
        "label. A column of lists needs no setting.",
    )
    label_columns: tuple[str, ...] = Field(
        (),
        description="Of a wide table, the columns that are labels, by name or pattern (* is any "
        "text; !NAME leaves out); their cells are 0 or 1, true or false, yes or no, or confidences "
        "in [0, 1], and empty where nothing is known. Given, label_column and confidence_column "
        "are not read.",
    )
    label_cells: LabelCells = Field(
        LabelCells.CONFIDENCES,
        description="Of label_columns, whether a cell says how surely the image has the label that "
        "its column is called (confidences), or is called as a label that the image has (names).",
    )
    label_zeros: LabelZeros = Field(
        LabelZeros.UNKNOWN,
        description="Of label_columns, whether a 0 says nothing (unknown) or that the label was "
        "looked for and is absent.",
    )
    null_values: tuple[str, ...] = Field(
        (),
        description="Cells of labels that say nothing, besides empty ones, such as NA, nan or -1.",
    )
    confidence_column: ColumnName | None = Field(
        "confidence",
        description="Column of numbers in [0, 1], 0 for a verified absence; none, and if there "
        "is no column of the default's name: all are 1. "
        "Where a cell has several labels, it has one number for all or as many in the same form.",
    )
    group_column: ColumnName | None = Field(
        None,
        description="Column whose equal values (an author, an album, a product) are kept on one "
        "side of the split; an empty value means no group.",
    )
    split_column: ColumnName | None = Field(
        None,
        description="Column that says to which split a row belongs; only rows of `split` are read. "
        "None: all rows are.",
    )
    split: str | None = Field(
        None,
        min_length=1,
        description="Value of split_column in the rows that are read, for example train here and "
        "validation in heldout.catalog, which may name the same file.",
    )

    http: HttpConfig | None = Field(
        None,
        description="How pictures are fetched, whose paths are all http or https URLs then, {} for "
        "the defaults; none: paths are files below image_root.",
    )
    webdataset: WebDatasetConfig = Field(
        WebDatasetConfig(), description="What is read of the samples in tars."
    )
    open_images: OpenImagesConfig | None = Field(
        None, description="Of the format open_images: what stands beside its labels."
    )
    ml_images: MlImagesConfig | None = Field(
        None, description="Of the format ml_images: what stands beside its labels."
    )

    @field_validator("label_separator")
    @classmethod
    def _tab(cls, value: str | None) -> str | None:
        """Without double quotes YAML leaves the two signs that stand for a tab."""
        return "\t" if value == r"\t" else value

    @field_validator("label_columns", "null_values", mode="before")
    @classmethod
    def _texts(cls, value: object) -> object:
        """YAML makes a number of -1, and one text need not stand in brackets."""
        several = value if isinstance(value, list | tuple) else [value]
        return tuple(str(each) if type(each) in (int, float) else each for each in several)

    @model_validator(mode="after")
    def _urls_start_nowhere(self) -> Self:
        if self.http is not None and self.image_root is not None:
            raise ValueError(
                f"{self._section}.image_root is {self.image_root!r}, but {self._section}.http says "
                "that image paths are URLs, which start nowhere else: remove one of them"
            )
        return self

    @model_validator(mode="after")
    def _sections_are_of_the_format(self) -> Self:
        for format_ in (CatalogFormat.OPEN_IMAGES, CatalogFormat.ML_IMAGES):
            if getattr(self, format_) is not None and self.format is not format_:
                raise ValueError(
                    f"{self._section}.{format_} is given, but {self._section}.format is "
                    f"{self.format}: set that to {format_}, or remove the section"
                )
        return self

    @model_validator(mode="after")
    def _only_tables_have_columns(self) -> Self:
        given = [name for name in WITHOUT_USE.get(self.format, ()) if self.is_set(name)]
        if given:
            raise ValueError(
                f"{self._section}.format is {self.format}, which has no {', '.join(given)}: "
                "remove it, or list the images in a CSV or Parquet file"
            )
        return self

    @model_validator(mode="after")
    def _split_settings_belong_together(self) -> Self:
        if (self.split_column is None) != (self.split is None):
            given, lacking = (
                ("split_column", "split") if self.split is None else ("split", "split_column")
            )
            raise ValueError(
                f"{self._section}.{given} is {getattr(self, given)!r}, which needs {lacking}: set "
                "both, or remove both to read all rows"
            )
        return self

    @model_validator(mode="after")
    def _labels_have_one_form(self) -> Self:
        for name in ("label_column", "label_separator", "confidence_column"):
            if self.label_columns and getattr(self, name) is not None and self.is_set(name):
                raise ValueError(
                    f"{self._section}.label_columns is given, but so is {name}, which is for a "
                    "table with one column of labels: remove one of them"
                )
        for name in ("label_zeros", "label_cells"):
            if self.is_set(name) and not self.label_columns:
                raise ValueError(
                    f"{self._section}.{name} is {getattr(self, name)}, which is for label_columns: "
                    f"set both, or remove {name}"
                )
        names = self.label_cells is LabelCells.NAMES
        if names and self.is_set("label_zeros"):
            raise ValueError(
                f"{self._section}.label_zeros is {self.label_zeros}, but label_cells says that "
                "cells are names: remove one of them"
            )
        if self.label_columns and not (names or self.header):
            raise ValueError(
                f"{self._section}.label_columns are labels by their names, but header is false: "
                "put a line with the names first, or set label_cells to names if cells hold them"
            )
        return self

    def is_set(self, name: str) -> bool:
        """Whether a setting is another than its default."""
        return bool(getattr(self, name) != type(self).model_fields[name].default)

    @property
    def _section(self) -> str:
        return self.SECTION.removeprefix("preprocessing.")


_OF_TABLES = ("image_suffix", "group_column", "split_column", "label_columns")
_OF_CELLS = ("label_separator", "null_values")

WITHOUT_USE: Mapping[CatalogFormat, tuple[str, ...]] = {
    CatalogFormat.FOLDER: ("image_root", *_OF_TABLES, *_OF_CELLS, "http"),
    CatalogFormat.WEBDATASET: (*_OF_TABLES, "http"),
    CatalogFormat.COCO: (*_OF_TABLES, *_OF_CELLS),
    CatalogFormat.OPEN_IMAGES: (*_OF_TABLES, *_OF_CELLS),
    CatalogFormat.ML_IMAGES: (*_OF_TABLES, *_OF_CELLS),
}
"""Settings of tables that catalogs of a format have no use for."""

COLUMNS = ("image_column", "label_column", "confidence_column")
"""Settings that only tables have a use for. A file of settings that says them for other formats may
be of an earlier run: it is read, and preprocessing refuses them."""


class HeldoutCatalogConfig(CatalogConfig):
    """Where the images of a held-out set of its own are listed, as in a catalog to train on."""

    SECTION: ClassVar[str] = "preprocessing.heldout.catalog"
