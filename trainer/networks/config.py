"""Which network to build. "Paper" is Xception's, arXiv 1610.02357, where no other is named."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal, Self, get_args

from pydantic import (
    BeforeValidator,
    Field,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    ValidatorFunctionWrapHandler,
    field_validator,
    model_validator,
)

from manylabel.trainer.networks.backbone_config import KerasApplicationsConfig
from manylabel.trainer.networks.head_config import (
    Activation,
    InputScale,
    NetworkConfig,
    ScaledConfig,
)


class InitialScale(StrEnum):
    """How far the first weights of depthwise convolutions are spread."""

    KERAS = "keras"
    FAN_IN = "fan_in"


class InceptionVariant(StrEnum):
    """Which of the two published forms of Inception V3."""

    KERAS = "keras"
    AUGUST_2016 = "2016"


class Padding(StrEnum):
    """What happens at an image's edges."""

    VALID = "valid"
    SAME = "same"


class XceptionConfig(ScaledConfig):
    """Xception; the defaults are the paper's without fully connected layers."""

    name: Literal["xception"] = Field("xception", description="Network to build.")
    input_size: int = Field(
        299,
        ge=32,
        description="Height and width of an input image, pixels. Paper, Figure 5: 299.",
    )
    middle_repeats: int = Field(
        8, ge=0, description="Repetitions of the middle flow's block. Paper, Figure 5: 8."
    )
    residual: bool = Field(
        True,
        description="Shortcuts around the blocks. Paper: on; Figure 9 compares with off.",
    )
    intermediate_activation: Activation = Field(
        Activation.NONE,
        description="Between depthwise and pointwise convolution. Paper, Figure 10: none is best.",
    )
    depth_multiplier: PositiveInt = Field(
        1, description="Depthwise filters for each input channel. Paper, section 4.2: 1."
    )
    segments: Literal["all"] | PositiveInt = Field(
        "all",
        description="Into how many nearly equal segments of channels each spatial convolution "
        "before a pointwise one is cut: all is Xception's depthwise convolution, 1 an ordinary "
        "one. Paper, sections 1.2 and 5: the spectrum between them is left open.",
    )
    depthwise_initial_scale: InitialScale = Field(
        InitialScale.KERAS,
        description="Spread of the depthwise convolutions' first weights. keras: Glorot's, which "
        "counts 9 inputs of every channel though a filter sees one, so that at 728 channels an "
        "output's deviation is 0.05 of an input's; fan_in: variance 1/9, outputs as far spread "
        "as inputs. Not stated in the paper; Keras has the first.",
    )

    @field_validator("segments", mode="wrap")
    @classmethod
    def _is_all_or_a_number(cls, value: Any, check: ValidatorFunctionWrapHandler) -> Any:
        try:
            if not isinstance(value, bool):
                return check(value)
        except ValidationError:
            pass
        raise ValueError(f"expected all or a whole number from 1, received {value!r:.60}")

    @model_validator(mode="after")
    def _segments_have_one_filter_a_channel(self) -> Self:
        if self.segments != "all" and self.depth_multiplier > 1:
            raise ValueError(
                f"depth_multiplier={self.depth_multiplier} is for segments=all; leave it at 1 with "
                f"segments={self.segments}"
            )
        return self


class InceptionV3Config(ScaledConfig):
    """Inception V3 (Szegedy et al., arXiv 1512.00567) without the auxiliary tower, as in the paper,
    section 4.3."""

    DEFAULT_L2: ClassVar[float] = 4e-5  # Paper, section 4.3.

    name: Literal["inception_v3"] = Field(description="Network to build.")
    input_size: int = Field(
        299,
        ge=32,
        description="Height and width of an input image, pixels. Inception V3's paper, Table 1: "
        "299.",
    )
    variant: InceptionVariant = Field(
        InceptionVariant.KERAS,
        description="keras: as in keras.applications today, 23,817,352 parameters with 1,000 "
        "classes; 2016: the author's code of August 2016, whose 23,626,728 are the number in the "
        "paper, Table 3: fewer pooled channels, biases, ReLU before batch normalisation.",
    )
    padding: Padding = Field(
        Padding.VALID,
        description="Of the stem and of the layers that halve the sides. Inception V3: valid; "
        "same keeps maps as large as Xception's, for small images.",
    )

    @field_validator("variant", mode="before")
    @classmethod
    def _year_as_text(cls, value: Any) -> Any:
        """To YAML 2016 is a number."""
        return str(value) if type(value) is int else value

    @model_validator(mode="after")
    def _pixels_are_left(self) -> Self:
        if self.padding is Padding.VALID and self.input_size < 75:
            raise ValueError(
                f"input_size={self.input_size} leaves no pixels with padding=valid; expected 75 or "
                "more, or padding=same"
            )
        return self


class VGGSeparableConfig(ScaledConfig):
    """VGG-16's thirteen convolutions as separable ones, of the paper's section 4.6: deep, separable
    and without shortcuts. The paper gives no layers; these have Inception V3's parameters."""

    name: Literal["vgg_separable"] = Field(description="Network to build.")
    input_size: int = Field(
        299,
        ge=32,
        description="Height and width of an input image, pixels. Paper, Figure 5: 299.",
    )
    stem_stride: Literal[1, 2] = Field(
        2,
        description="Of the first convolution. 2: 4.4 billion multiply-adds at 299 pixels, as "
        "Inception V3 has 5.7; VGG's 1: 18.3.",
    )


class VGG16Config(ScaledConfig):
    """VGG-16 (Simonyan and Zisserman, arXiv 1409.1556, configuration D)."""

    # VGG's paper, section 3.1: a decay of 5e-4, which Caffe multiplies with w and not with 2 w.
    DEFAULT_L2: ClassVar[float] = 2.5e-4

    name: Literal["vgg16"] = Field(description="Network to build.")
    fully_connected: tuple[PositiveInt, ...] = Field(
        (4096, 4096), description="Units of layers before the classifier. VGG's paper, Table 1."
    )
    dropout: float = Field(
        0.5,
        ge=0.0,
        lt=1.0,
        description="Fraction dropped after each fully connected layer. VGG's paper, 3.1: 0.5.",
    )
    input_scale: InputScale = Field(
        InputScale.SYMMETRIC,
        description="What the first layer sees: symmetric ([-1, 1]), caffe (as VGG's authors and "
        "the weights of keras.applications), torch or pixels.",
    )


class ResNetConfig(ScaledConfig):
    """ResNet with bottlenecks (He et al., arXiv 1512.03385), by default of 152 layers."""

    # ResNet's paper, section 3.4: a decay of 1e-4, which Caffe multiplies with w and not with 2 w.
    DEFAULT_L2: ClassVar[float] = 5e-5

    name: Literal["resnet"] = Field(description="Network to build.")
    blocks: tuple[PositiveInt, PositiveInt, PositiveInt, PositiveInt] = Field(
        (3, 8, 36, 3),
        description="Bottlenecks of each stage. ResNet's paper, Table 1: [3, 8, 36, 3] for 152 "
        "layers, [3, 4, 23, 3] for 101, [3, 4, 6, 3] for 50.",
    )
    bias: bool = Field(
        False,
        description="Biases of the convolutions, which batch normalisation takes away again. "
        "ResNet's paper: none; keras.applications: has them.",
    )
    batch_norm_epsilon: PositiveFloat = Field(
        1.001e-5, description="Added to the variance. keras.applications: 1.001e-5."
    )
    input_scale: InputScale = Field(
        InputScale.SYMMETRIC,
        description="What the first layer sees: symmetric ([-1, 1]), caffe (as ResNet's authors "
        "and the weights of keras.applications), torch or pixels.",
    )


_Any = (
    XceptionConfig
    | InceptionV3Config
    | VGGSeparableConfig
    | VGG16Config
    | ResNetConfig
    | KerasApplicationsConfig
)


def default_l2(model: Any) -> float:
    """TrainerConfig.l2 of a network, where it is not given.

    Args:
        model: settings of a network, which may be wrong yet: that is told elsewhere.
    """
    name = model.get("name") if isinstance(model, Mapping) else getattr(model, "name", None)
    for kind in get_args(_Any):
        if name in get_args(kind.model_fields["name"].annotation):
            return kind.DEFAULT_L2
    return NetworkConfig.DEFAULT_L2


def _xception_unless_named(tree: Any) -> Any:
    """Settings without a name are Xception's: it was the only network once."""
    if isinstance(tree, Mapping) and "name" not in tree:
        return {"name": "xception", **tree}
    return tree


ModelConfig = Annotated[_Any, Field(discriminator="name"), BeforeValidator(_xception_unless_named)]
"""Settings of any network."""
