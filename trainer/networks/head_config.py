"""What the settings of all networks share: their input, their normalisation and their head."""

from enum import StrEnum
from typing import Annotated, Any, ClassVar

from pydantic import (
    Field,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    ValidatorFunctionWrapHandler,
    field_validator,
)

from manylabel.trainer.section import TrainerSection


class Activation(StrEnum):
    """A pointwise function, or none at all."""

    NONE = "none"
    RELU = "relu"
    ELU = "elu"


class HeadBias(StrEnum):
    """Where the classifier's biases begin, when it is not at a given number."""

    PRIOR = "prior"
    ZERO = "zero"


class InputScale(StrEnum):
    """What a network is fed with, made from the images in [-1, 1] that all networks get."""

    SYMMETRIC = "symmetric"
    """[-1, 1], as TF's Inception."""
    PIXELS = "pixels"
    """[0, 255], for networks that scale their input themselves."""
    CAFFE = "caffe"
    """[0, 255] less ImageNet's mean, blue first, as the authors of VGG and ResNet had it."""
    TORCH = "torch"
    """[0, 1] less ImageNet's mean, by its standard deviation, as torchvision."""


class NetworkConfig(TrainerSection):
    """Fields of every network. Each has the defaults of its own paper."""

    DEFAULT_L2: ClassVar[float] = 1e-5
    """TrainerConfig.l2 where it is not given: l2 * sum(w^2) over all kernels."""

    name: str = Field(description="Network to build.")
    input_size: int = Field(
        224, ge=32, description="Height and width of an input image, pixels. VGG and ResNet: 224."
    )
    fully_connected: tuple[PositiveInt, ...] = Field(
        (),
        description="Units of layers before the classifier. Paper, section 4.3: none, or "
        "[4096, 4096] on JFT.",
    )
    fully_connected_activation: Activation = Field(
        Activation.RELU,
        description="After each fully connected layer. Not stated in the paper; as in VGG-16.",
    )
    fully_connected_batch_norm: bool = Field(
        False,
        description="Batch normalisation before that activation; replaces the layer's bias. "
        "Not stated in the paper; off, as in VGG-16.",
    )
    dropout: float = Field(
        0.0,
        ge=0.0,
        lt=1.0,
        description="Fraction dropped before the classifier. Paper, section 4.3: 0 on JFT, 0.5 on "
        "ImageNet.",
    )
    batch_norm_momentum: float = Field(
        0.99,
        gt=0.0,
        lt=1.0,
        description="Kept share of the moving statistics at each step. Not stated in the paper; "
        "keras.applications: 0.99, TF's Inception: 0.9997. A network without batch normalisation "
        "has it at most in its fully connected layers.",
    )
    batch_norm_epsilon: PositiveFloat = Field(
        0.001,
        description="Added to the variance. Not stated in the paper; keras.applications: 0.001.",
    )
    head_bias: HeadBias | Annotated[float, Field(ge=-100.0, le=100.0)] = Field(
        HeadBias.PRIOR,
        description="Where the classifier's biases begin. prior: at the log odds of each class "
        "among the training images (softmax: the log of its share), so that no update is spent on "
        "learning which labels are frequent; zero; or a number, the same for all classes. Not "
        "stated in the paper; Google's JFT-300M configurations in uncertainty-baselines have -10.",
    )

    initial_weights: str | None = Field(
        None,
        min_length=1,
        description="Weights to begin with instead of random ones: a .keras or .h5 file of Keras "
        "(path or URI) with the same network, a checkpoint or run of ours, or the name of the "
        "network in keras.applications, such as Xception, whose ImageNet weights are downloaded. "
        "Not in the paper: it trains from random weights.",
    )

    @field_validator("head_bias", mode="wrap")
    @classmethod
    def _is_prior_zero_or_a_number(
        cls, value: Any, check: ValidatorFunctionWrapHandler
    ) -> HeadBias | float:
        """One problem instead of one for each branch. YAML's yes, no, on and off are no numbers."""
        try:
            if not isinstance(value, bool):
                checked: HeadBias | float = check(value)
                return checked
        except ValidationError:
            pass
        raise ValueError(
            f"expected prior, zero or a number from -100 to 100, received {value!r:.60}"
        )


class ScaledConfig(NetworkConfig):
    """Fields of the networks whose layers are our own."""

    width: PositiveFloat = Field(
        1.0,
        description="Factor on every layer's channels, rounded to a multiple of 8. Paper: 1.",
    )
