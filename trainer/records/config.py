"""Settings of the input pipeline; apart from input.py so that reading them loads no TensorFlow."""

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import Field, PositiveInt, model_validator

from manylabel.trainer.section import TrainerSection


class Fit(StrEnum):
    """How an image of any shape becomes a square."""

    CROP = "crop"  # the central square; the ends of a long picture are lost
    PAD = "pad"  # all of it, with bars of the fill value
    STRETCH = "stretch"  # all of it, its sides scaled differently, as Inception's evaluation


class FramingConfig(TrainerSection):
    """The view of an image in evaluation, and in training before and beside augmentation."""

    fit: Fit = Field(Fit.CROP, description="How a picture becomes square. Not stated in the paper.")
    central_fraction: float = Field(
        0.875,
        gt=0.0,
        le=1.0,
        description="Part of each side that is kept, around the centre. TF-slim's "
        "inception_preprocessing: 0.875.",
    )
    fill: int = Field(
        255,
        ge=0,
        le=255,
        description="Grey value beside the picture. 255, since preprocessing puts transparent "
        "pictures on white.",
    )
    antialias: bool = Field(
        False,
        description="Average over all source pixels when shrinking. TF-slim: off. Off loses thin "
        "lines below half size; on, the resize takes several times longer.",
    )


class RandomResizedCrop(TrainerSection):
    """A random part of the picture, stretched to the input size; TF-slim's training crop."""

    name: Literal["random_resized_crop"] = "random_resized_crop"
    area: tuple[float, float] = Field(
        (0.08, 1.0), description="Least and most part of the picture's area. TF-slim: 0.08, 1."
    )
    aspect_ratio: tuple[float, float] = Field(
        (3 / 4, 4 / 3), description="Least and most width / height. TF-slim: 3/4, 4/3."
    )

    @model_validator(mode="after")
    def _ranges_are_ordered(self) -> Self:
        if not 0 < self.area[0] <= self.area[1] <= 1:
            raise ValueError(f"expected 0 < least <= most <= 1. Received: area={self.area}")
        if not 0 < self.aspect_ratio[0] <= self.aspect_ratio[1]:
            raise ValueError(
                f"expected 0 < least <= most. Received: aspect_ratio={self.aspect_ratio}"
            )
        return self


class Shift(TrainerSection):
    """The framed picture moved by up to a fraction of its side in both directions."""

    name: Literal["shift"] = "shift"
    fraction: float = Field(
        0.125,
        gt=0.0,
        lt=1.0,
        description="Of the input size. 0.125: 4 of 32 pixels, as He et al. 2016 on CIFAR-10.",
    )


class CentralView(TrainerSection):
    """The view that evaluation has."""

    name: Literal["central"] = "central"


class AugmentationConfig(TrainerSection):
    """Random changes of training images. The paper states none; the defaults are TF-slim's
    inception_preprocessing without its hue.
    """

    view: Annotated[RandomResizedCrop | Shift | CentralView, Field(discriminator="name")] = Field(
        RandomResizedCrop(), description="Which part of the picture is seen."
    )
    flip: bool = Field(True, description="Mirror every other image, left to right. TF-slim: on.")
    brightness: float = Field(
        32 / 255,
        ge=0.0,
        le=1.0,
        description="Most that is added or taken, of the full range. TF-slim: 32/255. 0: off.",
    )
    contrast: float = Field(
        0.5,
        ge=0.0,
        le=1.0,
        description="Distances to the mean times 1 - x to 1 + x. TF-slim: 0.5. 0: off.",
    )
    saturation: float = Field(
        0.5,
        ge=0.0,
        le=1.0,
        description="Distances to grey times 1 - x to 1 + x. TF-slim: 0.5. 0: off.",
    )


class InputConfig(TrainerSection):
    """How a worker reads its records."""

    batch_size: PositiveInt = Field(
        32,
        description="Images a gradient. Not stated in the paper; 32 in Open Images V2's recipe, "
        "asynchronous and of the same year.",
    )
    seed: int = Field(0, ge=0, lt=2**63, description="Of the records' order and augmentation.")
    shuffle_block: PositiveInt = Field(
        32,
        description="Consecutive records that are dealt together. Memory is 16 bytes a block: "
        "175 MB for 350 million images.",
    )
    shuffle_mix: PositiveInt = Field(
        128, description="Blocks shuffled with each other, from as many places of the dataset."
    )
    decode_threads: PositiveInt = Field(
        2, description="Threads that decode and augment, for each worker."
    )
    prefetch: PositiveInt = Field(2, description="Finished batches kept ready, for each worker.")
    framing: FramingConfig = Field(FramingConfig(), description="View of an image in evaluation.")
    augmentation: AugmentationConfig = Field(
        AugmentationConfig(), description="Random changes of training images."
    )
