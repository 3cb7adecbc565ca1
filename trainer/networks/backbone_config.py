"""Which networks of keras.applications can be trained, and what each expects."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal, Self

from pydantic import Field, PositiveFloat, model_validator

from manylabel.trainer.networks.head_config import InputScale, NetworkConfig


class Backbone(StrEnum):
    """Functions of keras.applications.

    Left out: Xception, Inception V3, VGG and ResNet-152, which there are networks of our own for;
    and EfficientNet's first version, whose input layer counts images in an integer variable.
    """

    CONVNEXT_TINY = "ConvNeXtTiny"
    CONVNEXT_SMALL = "ConvNeXtSmall"
    CONVNEXT_BASE = "ConvNeXtBase"
    CONVNEXT_LARGE = "ConvNeXtLarge"
    CONVNEXT_XLARGE = "ConvNeXtXLarge"
    DENSENET_121 = "DenseNet121"
    DENSENET_169 = "DenseNet169"
    DENSENET_201 = "DenseNet201"
    EFFICIENTNET_V2_B0 = "EfficientNetV2B0"
    EFFICIENTNET_V2_B1 = "EfficientNetV2B1"
    EFFICIENTNET_V2_B2 = "EfficientNetV2B2"
    EFFICIENTNET_V2_B3 = "EfficientNetV2B3"
    EFFICIENTNET_V2_S = "EfficientNetV2S"
    EFFICIENTNET_V2_M = "EfficientNetV2M"
    EFFICIENTNET_V2_L = "EfficientNetV2L"
    INCEPTION_RESNET_V2 = "InceptionResNetV2"
    MOBILENET = "MobileNet"
    MOBILENET_V2 = "MobileNetV2"
    MOBILENET_V3_SMALL = "MobileNetV3Small"
    MOBILENET_V3_LARGE = "MobileNetV3Large"
    NASNET_MOBILE = "NASNetMobile"
    NASNET_LARGE = "NASNetLarge"
    RESNET_50 = "ResNet50"
    RESNET_101 = "ResNet101"
    RESNET_50_V2 = "ResNet50V2"
    RESNET_101_V2 = "ResNet101V2"
    RESNET_152_V2 = "ResNet152V2"


@dataclass(frozen=True)
class Family:
    """What the networks of one paper have in common in keras.applications.

    Attributes:
        input_scale: what the first layer expects; its weights there were trained so.
        batch_norm_momentum: of all its layers; of a head's, where it has none itself.
        smallest: input size in pixels.
    """

    input_scale: InputScale
    batch_norm_momentum: float = 0.99
    smallest: int = 32


# By how the names begin, the first that fits.
_FAMILIES = {
    "ConvNeXt": Family(InputScale.PIXELS),
    "DenseNet": Family(InputScale.TORCH),
    "EfficientNetV2": Family(InputScale.PIXELS, 0.9),
    "InceptionResNetV2": Family(InputScale.SYMMETRIC, smallest=75),
    "MobileNetV3": Family(InputScale.PIXELS, 0.999),
    "MobileNetV2": Family(InputScale.SYMMETRIC, 0.999),
    "MobileNet": Family(InputScale.SYMMETRIC),
    "NASNet": Family(InputScale.SYMMETRIC, 0.9997),
    "ResNet50V2": Family(InputScale.SYMMETRIC),
    "ResNet101V2": Family(InputScale.SYMMETRIC),
    "ResNet152V2": Family(InputScale.SYMMETRIC),
    "ResNet": Family(InputScale.CAFFE),
}


def family(backbone: str) -> Family:
    """What a network of keras.applications expects.

    Raises:
        LookupError: it is none that can be trained here.
    """
    for beginning, found in _FAMILIES.items():
        if backbone in list(Backbone) and backbone.startswith(beginning):
            return found
    raise LookupError(backbone)


class KerasApplicationsConfig(NetworkConfig):
    """Another network of keras.applications, up to its global average pooling."""

    name: Literal["keras_applications"] = Field(description="Network to build.")
    backbone: Backbone = Field(description="Its function in keras.applications.")
    batch_norm_momentum: float = Field(
        0.99,
        gt=0.0,
        lt=1.0,
        description="Kept share of the moving statistics at each step, in all layers. Left out: "
        "the backbone's own in keras.applications, 0.9 to 0.9997.",
    )
    batch_norm_epsilon: PositiveFloat = Field(
        0.001,
        description="Added to the variance in fully connected layers; the backbone keeps its own.",
    )

    @model_validator(mode="before")
    @classmethod
    def _with_the_backbones_momentum(cls, tree: Any) -> Any:
        if isinstance(tree, Mapping) and "batch_norm_momentum" not in tree:
            try:
                own = family(str(tree.get("backbone"))).batch_norm_momentum
            except LookupError:  # The field's own check tells it.
                return tree
            return {**tree, "batch_norm_momentum": own}
        return tree

    @model_validator(mode="after")
    def _pixels_are_left(self) -> Self:
        smallest = family(self.backbone).smallest
        if self.input_size < smallest:
            raise ValueError(
                f"input_size={self.input_size} leaves no pixels in {self.backbone}; expected "
                f"{smallest} or more"
            )
        return self
