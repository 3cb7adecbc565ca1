"""Settings of preprocessing: the section `preprocessing` of a settings file."""

from enum import StrEnum
from typing import Self

from pydantic import Field, model_validator

from manylabel.preprocessing.catalog_config import CatalogConfig, HeldoutCatalogConfig
from manylabel.storage.image_policy import ImageConfig
from manylabel.storage.settings import SettingsSection


class LabelConfig(SettingsSection):
    """Which labels are learnt."""

    minimum_count: int = Field(
        1,
        ge=1,
        description="Accepted images, of both sides together, that must have a label for it to "
        "be kept; with heldout.catalog of training images alone, for they say what can be learnt.",
    )


class HeldoutConfig(SettingsSection):
    """Which images are held out of training for evaluation.

    Some of the catalog's own, chosen by a hash; or, with `catalog`, those of another catalog. Then
    training images that are equal or near to one of those, or share a group with it, are rejected.
    """

    catalog: HeldoutCatalogConfig | None = Field(
        None,
        description="Catalog of a held-out set of its own, such as the paper's FastEval14k, which "
        "was annotated apart from training; none: images of the training catalog are held out.",
    )
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
        description="Labels, of those that training images have, that an image must have to be "
        "held out; others stay in training, and those of `catalog` are rejected. FastEval14k has "
        "36.5 on average.",
    )
    duplicate_distance: int | None = Field(
        2,
        ge=0,
        le=15,
        description="Images whose perceptual hashes differ in at most this many bits stay on one "
        "side, or are rejected from training where `catalog` has one of them; none: only equal "
        "files.",
    )
    largest_group: int = Field(
        1000,
        ge=1,
        description="Images of a group that may be held out; larger groups, such as all blank "
        "pages, stay in training and are counted in the report.",
    )
    salt: str = Field("manylabel", description="Another salt holds out other images.")

    @model_validator(mode="after")
    def _size_is_fraction_or_number(self) -> Self:
        if isinstance(self.size, float) and self.size >= 1:
            raise ValueError(
                f"heldout.size is {self.size}: give a fraction below 1 or a whole number of images"
            )
        return self

    @model_validator(mode="after")
    def _catalog_leaves_nothing_to_choose(self) -> Self:
        for name in ("size", "largest_group", "salt") if self.catalog is not None else ():
            value = getattr(self, name)
            if value != HeldoutConfig.model_fields[name].default:
                raise ValueError(
                    f"heldout.{name} is {value!r}, which chooses among the images of the training "
                    "catalog, but heldout.catalog says which are held out: remove one of them"
                )
        return self


class ShardConfig(SettingsSection):
    """How the records are cut into files; shards are filled by a hash, so they differ a little."""

    bytes_per_shard: int = Field(
        128 << 20,
        ge=1,
        description="Average, as estimated from the pictures' sizes before any is stored. 128 MiB "
        "are read in about a second, and are some 3,000 images of 320 pixels.",
    )
    images_per_shard: int | None = Field(
        None, ge=1, description="Average; given, it decides instead of bytes_per_shard."
    )


class ExecutorKind(StrEnum):
    """Where pictures are checked and shards are written."""

    INLINE = "inline"
    PROCESSES = "processes"
    RAY = "ray"


class RunnerConfig(SettingsSection):
    """How the job runs; these settings never change what is written."""

    processes: int | None = Field(
        None,
        ge=1,
        description="Of the executor processes; none: one for each CPU that this job may use.",
    )
    address: str | None = Field(
        None,
        description="Ray cluster of the executor ray, host:port or auto; none: one that is "
        "started on this machine and ends with the job.",
    )
    cpus: float = Field(
        1.0,
        gt=0,
        description="CPUs that a task of the executor ray asks for. Decoding keeps one busy; less "
        "than 1 where pictures come from storage that lets it wait.",
    )
    memory: int = Field(
        500_000_000,
        ge=0,
        description="Bytes of memory that a task of the executor ray asks for: 200 MB of a "
        "process, and what decoding a picture of images.max_pixels takes, 6 bytes a pixel.",
    )
    options: tuple[str, ...] = Field(
        (),
        description="Options of Apache Beam, for example --runner=FlinkRunner; none: the keys "
        "are sorted in this process.",
    )
    scratch: str | None = Field(
        None,
        description="Local directory for what is sorted on the way, about 400 bytes an image; "
        "none: beside the plan of a local dataset, else the system's directory for such files.",
    )


class PreprocessingConfig(SettingsSection):
    """All settings of preprocessing."""

    catalog: CatalogConfig
    images: ImageConfig = ImageConfig()
    labels: LabelConfig = LabelConfig()
    heldout: HeldoutConfig = HeldoutConfig()
    shards: ShardConfig = ShardConfig()
    executor: ExecutorKind = Field(
        ExecutorKind.PROCESSES,
        description="Where pictures are checked and shards written: inline, in this process; "
        "processes, which are replaced when one ends; ray, tasks on a Ray cluster.",
    )
    runner: RunnerConfig = RunnerConfig()

    @model_validator(mode="after")
    def _runner_fits_executor(self) -> Self:
        if self.runner.scratch and self.runner.options:
            raise ValueError(
                "runner.scratch is for the job's own process, but runner.options name another "
                "runner: remove one of them"
            )
        for setting, kind in (
            ("processes", ExecutorKind.PROCESSES),
            ("address", ExecutorKind.RAY),
            ("cpus", ExecutorKind.RAY),
            ("memory", ExecutorKind.RAY),
            ("options", ExecutorKind.INLINE),
        ):
            default = RunnerConfig.model_fields[setting].default
            if getattr(self.runner, setting) != default and self.executor is not kind:
                raise ValueError(
                    f"runner.{setting} is given, which is for the executor {kind}, but executor is "
                    f"{self.executor}: set executor to {kind}, or remove runner.{setting}"
                )
        return self
