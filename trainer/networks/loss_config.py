"""Which loss to train with; apart from losses.py so that reading settings loads no TensorFlow."""

from enum import StrEnum
from typing import Self

from pydantic import Field, model_validator

from manylabel.trainer.section import TrainerSection


class LossKind(StrEnum):
    """How the logits become probabilities."""

    SIGMOID = "sigmoid"
    SOFTMAX = "softmax"


class ClassReduction(StrEnum):
    """How the sigmoid loss of an image is made of its classes' losses."""

    SUM = "sum"
    MEAN = "mean"


class UnknownKind(StrEnum):
    """What a class is that is neither a label of an image nor verified to be absent.

    NEGATIVE: absent.
    IGNORE: nothing; it has no part in the image's loss.
    """

    NEGATIVE = "negative"
    IGNORE = "ignore"


class LossConfig(TrainerSection):
    """The loss. The paper does not state the one it used on JFT."""

    kind: LossKind = Field(
        LossKind.SIGMOID,
        description="sigmoid: several labels an image, each on its own; softmax: they share 1.",
    )
    class_reduction: ClassReduction = Field(
        ClassReduction.SUM,
        description="Sum or mean over the classes (sigmoid only). The sum's gradient does not "
        "shrink as classes are added. Google's JFT-300M configurations in uncertainty-baselines "
        "sum.",
    )
    unknown: UnknownKind = Field(
        UnknownKind.NEGATIVE,
        description="What a class is that is neither a label of the image nor verified to be "
        "absent (confidence 0 in the catalog). negative: absent; ignore: left out of the loss "
        "(sigmoid only), for datasets that hold verified absences, as Open Images does. Not "
        "stated in the paper.",
    )
    label_smoothing: float = Field(
        0.0,
        ge=0.0,
        lt=1.0,
        description="Part of an image's target that all classes share equally (softmax only). "
        "Szegedy et al. 2016, section 7: 0.1 for Inception V3 on ImageNet. The paper mentions "
        "none.",
    )

    @model_validator(mode="after")
    def _belongs_to_the_kind(self) -> Self:
        if self.kind is LossKind.SOFTMAX and self.class_reduction is ClassReduction.MEAN:
            raise ValueError(
                "class_reduction=mean has no meaning with kind=softmax; leave it at sum."
            )
        if self.kind is LossKind.SOFTMAX and self.unknown is UnknownKind.IGNORE:
            raise ValueError(
                "unknown=ignore has no meaning with kind=softmax, which gives every class a part "
                "of 1; leave it at negative, or set kind=sigmoid."
            )
        if self.kind is LossKind.SIGMOID and self.label_smoothing:
            raise ValueError(
                f"label_smoothing={self.label_smoothing:g} is used with kind=softmax only; leave "
                "it at 0, or set kind=softmax."
            )
        return self
