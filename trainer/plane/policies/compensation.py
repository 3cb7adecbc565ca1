"""What makes up for a gradient that was computed from older weights than it is applied to."""

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from manylabel.trainer.plane.optimizers import DecayBlocks, FloatVector
from manylabel.trainer.section import TrainerSection

MEAN_SQUARE = "delay_mean_square"


class NoCompensation(TrainerSection):
    """A gradient counts the same however old its weights are."""

    name: Literal["none"] = "none"

    def acts_on(self, staleness: int) -> bool:
        """Whether it makes a difference."""
        return False

    def rate_factor(self, staleness: int) -> float:
        """What the learning rate is multiplied by."""
        return 1.0


class InverseStaleness(TrainerSection):
    """learning_rate / tau for a gradient of staleness tau > 0; those of 0 and 1 keep the whole.

    Zhang et al. 2016, "Staleness-aware Async-SGD for Distributed Deep Learning", arXiv 1511.05950.
    """

    name: Literal["inverse_staleness"] = "inverse_staleness"

    def acts_on(self, staleness: int) -> bool:
        """Whether it makes a difference."""
        return staleness > 1

    def rate_factor(self, staleness: int) -> float:
        """What the learning rate is multiplied by."""
        return 1.0 / max(staleness, 1)


class DelayCompensation(TrainerSection):
    """g + lambda_t * g * g * (w - w_pulled), elementwise: the gradient at w to first order, with
    g * g for the Hessian's diagonal.

    lambda_t is lambda_0 / sqrt(mean_square + epsilon), and mean_square <- decay * mean_square +
    (1 - decay) * g^2 with each gradient, if adaptive; else it is lambda_0. g is the gradient
    without L2, whose own slope is always taken at w, and after clipping.

    Zheng et al. 2017, "Asynchronous Stochastic Gradient Descent with Delay Compensation", ICML,
    arXiv 1609.08326, equations 10 and 14.
    """

    name: Literal["dc_asgd"] = "dc_asgd"
    adaptive: bool = Field(True, description="DC-ASGD-a of the paper, the better one; no: -c")
    strength: float = Field(
        2.0, ge=0, description="lambda_0; the paper has 2 for -a and 0.04 for -c (section 6)"
    )
    mean_square_decay: float = Field(
        0.95, ge=0, lt=1, description="of the adaptive form; paper: 0.95 on CIFAR-10, 0 on ImageNet"
    )
    epsilon: float = Field(1e-7, gt=0, description="of the adaptive form; paper: 1e-7")

    def acts_on(self, staleness: int) -> bool:
        """Whether it makes a difference."""
        return staleness > 0

    def rate_factor(self, staleness: int) -> float:
        """What the learning rate is multiplied by."""
        return 1.0

    def new_slots(self, size: int) -> dict[str, FloatVector]:
        """The state before the first update, float32[size]."""
        return {MEAN_SQUARE: np.zeros(size, np.float32)} if self.adaptive else {}

    def compensate(
        self,
        gradient: FloatVector,
        weights: FloatVector,
        pulled: FloatVector,
        slots: dict[str, FloatVector],
        blocks: DecayBlocks,
        *,
        scale: float,
        out: FloatVector,
    ) -> None:
        """Writes the compensated `scale * gradient` to `out`. All vectors are float32[n].

        Args:
            gradient: without the L2 term; it is only read.
            weights: what the gradient will be applied to; pulled: what it was computed from.
            slots: the state of `new_slots`. The adaptive form updates its mean square in place.
            blocks: the same n parameters in parts, the units of parallel work; their L2 is unused.
            scale: what the gradient is multiplied by first, below 1 if it is clipped.
        """
        from manylabel.trainer.plane.fused_passes import (
            adaptive_delay_compensation,
            delay_compensation,
        )

        vectors = blocks.bounds, out, gradient, weights, pulled
        if not self.adaptive:
            delay_compensation(*vectors, np.float32(scale), np.float32(self.strength))
            return
        adaptive_delay_compensation(
            *vectors,
            slots[MEAN_SQUARE],
            np.float32(scale),
            np.float32(self.strength),
            np.float32(self.mean_square_decay),
            np.float32(1 - self.mean_square_decay),
            np.float32(self.epsilon),
        )


Compensation = Annotated[
    NoCompensation | InverseStaleness | DelayCompensation, Field(discriminator="name")
]
