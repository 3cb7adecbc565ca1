"""Which loss to train with; apart from losses.py so that reading settings loads no TensorFlow."""

from enum import StrEnum
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class LossKind(StrEnum):
    """How the logits become probabilities."""

    SIGMOID = "sigmoid"
    SOFTMAX = "softmax"


class ClassReduction(StrEnum):
    """How the sigmoid loss of an image is made of its classes' losses."""

    SUM = "sum"
    MEAN = "mean"


class LossConfig(BaseModel):
    """The loss. The paper does not state the one it used on JFT."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: LossKind = Field(
        LossKind.SIGMOID,
        description="sigmoid: several labels an image, each on its own; softmax: they share 1.",
    )
    class_reduction: ClassReduction = Field(
        ClassReduction.SUM,
        description="Sum or mean over the classes (sigmoid only). The sum's gradient does not "
        "shrink as classes are added.",
    )

    @model_validator(mode="after")
    def _softmax_has_no_mean(self) -> Self:
        if self.kind is LossKind.SOFTMAX and self.class_reduction is ClassReduction.MEAN:
            raise ValueError(
                "class_reduction=mean has no meaning with kind=softmax; leave it at sum."
            )
        return self
