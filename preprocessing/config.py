"""Settings of preprocessing: the section `preprocessing` of a settings file."""

from enum import StrEnum
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from manylabel.storage.image_policy import ImageConfig


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class CatalogFormat(StrEnum):
    """How a catalog lists images and labels."""

    AUTO = "auto"
    CSV = "csv"
    PARQUET = "parquet"
    FOLDER = "folder"


class CatalogConfig(_Section):
    """Where the images and their labels are listed.

    CSV and Parquet catalogs are long: one row per pair of image and label. In a folder tree the
    names of all folders between the root and an image are its labels.
    """

    path: str = Field(min_length=1, description="File, or root of the folder tree.")
    format: CatalogFormat = Field(
        CatalogFormat.AUTO,
        description="auto: by the file's suffix (.csv, .parquet), or folder for a directory.",
    )
    image_root: str | None = Field(
        None,
        description="Directory that image paths start from and may not leave; "
        "none: the catalog file's own directory.",
    )
    image_column: str = "image_path"
    label_column: str = "label"
    confidence_column: str | None = Field(
        "confidence",
        description="Column of numbers in [0, 1], 0 for a verified absence; none: all are 1.",
    )
    group_column: str | None = Field(
        None,
        description="Column whose equal values (an author, an album, a product) are kept on one "
        "side of the split; an empty value means no group.",
    )

    @model_validator(mode="after")
    def _folder_has_no_columns(self) -> Self:
        if self.format is CatalogFormat.FOLDER:
            names = ("group_column", "image_root")
            given = [name for name in names if getattr(self, name) is not None]
            if given:
                raise ValueError(
                    f"catalog.format is folder, which has no {', '.join(given)}: "
                    "remove it, or list the images in a CSV or Parquet file"
                )
        return self


class LabelConfig(_Section):
    """Which labels are learnt."""

    minimum_count: int = Field(
        1,
        ge=1,
        description="Accepted images, of both sides together, that must have a label for it to "
        "be kept.",
    )


class HeldoutConfig(_Section):
    """Which images are held out of training for evaluation."""

    size: int | float = Field(
        0.1,
        ge=0,
        allow_inf_nan=False,
        description="A fraction (below 1) of the groups of images that qualify, or a number of "
        "images (1 or more; whole groups are taken, so it can be passed by the last group's "
        "size). 0: hold nothing out.",
    )
    minimum_labels: int = Field(
        1,
        ge=1,
        description="Labels that an image must have to be held out; others stay in training. "
        "FastEval14k has 36.5 on average.",
    )
    duplicate_distance: int | None = Field(
        2,
        ge=0,
        le=15,
        description="Images whose perceptual hashes differ in at most this many bits stay on one "
        "side; none: only equal files do.",
    )
    salt: str = Field("manylabel", description="Another salt holds out other images.")

    @model_validator(mode="after")
    def _size_is_fraction_or_number(self) -> Self:
        if isinstance(self.size, float) and self.size >= 1:
            raise ValueError(
                f"heldout.size is {self.size}: give a fraction below 1 or a whole number of images"
            )
        return self


class ShardConfig(_Section):
    """How the records are cut into files."""

    images_per_shard: int = Field(
        1024,
        ge=1,
        description="Average; shards are filled by a hash, so they differ a little. 1,024 images "
        "of 320 pixels are about 40 MB.",
    )


class RunnerConfig(_Section):
    """How the job runs; these settings never change what is written."""

    processes: int = Field(
        1,
        ge=1,
        description="1 runs inside this process; more are started by Beam, which takes about "
        "8 seconds.",
    )


class PreprocessingConfig(_Section):
    """All settings of preprocessing."""

    catalog: CatalogConfig
    images: ImageConfig = ImageConfig()
    labels: LabelConfig = LabelConfig()
    heldout: HeldoutConfig = HeldoutConfig()
    shards: ShardConfig = ShardConfig()
    runner: RunnerConfig = RunnerConfig()
