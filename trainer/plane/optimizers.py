"""RMSprop and SGD with momentum over one range of the flat parameter vector.

One pass over memory applies L2, the optimizer and the Polyak average: an update is bound by
memory bandwidth, and separate passes would read and write the same vectors several times. The
passes are imported where they run: whoever reads settings needs no compiler.
"""

import enum
from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from manylabel.trainer.section import TrainerSection

FloatVector = NDArray[np.float32]

# Blocks are the unit of parallel work. 16,384 float32 of five vectors are 320 KiB, which stays in
# an L2 cache; a network's largest tensor alone would otherwise be one core's work.
BLOCK_SIZE = 16_384


class MeanSquareStart(enum.StrEnum):
    """The running mean of squared gradients before the first update."""

    ZEROS = "zeros"  # Keras
    ONES = "ones"  # TF1's RMSPropOptimizer: small first steps


class RMSprop(TrainerSection):
    """mean_square <- rho * mean_square + (1 - rho) * g^2
    buffer <- momentum * buffer + learning_rate * g / sqrt(mean_square + epsilon)
    weights <- weights - buffer

    As keras.optimizers.RMSprop and TF1's RMSPropOptimizer, both of which have epsilon inside the
    square root. https://www.cs.toronto.edu/~tijmen/csc321/slides/lecture_slides_lec6.pdf
    """

    name: Literal["rmsprop"] = "rmsprop"
    rho: float = Field(0.9, ge=0, lt=1, description="open in the paper; TF's Inception used 0.9")
    momentum: float = Field(0.9, ge=0, lt=1, description="paper, section 4.2 (JFT)")
    epsilon: float = Field(1.0, gt=0, description="open in the paper; TF's Inception used 1.0")
    mean_square_start: MeanSquareStart = Field(
        MeanSquareStart.ONES, description="open in the paper; TF1, which trained it, has ones"
    )

    def new_slots(self, size: int) -> dict[str, FloatVector]:
        """The optimizer's state before the first update, float32[size] each."""
        start = 1.0 if self.mean_square_start is MeanSquareStart.ONES else 0.0
        return {
            "mean_square": np.full(size, start, np.float32),
            "momentum": np.zeros(size, np.float32),
        }

    def update(
        self,
        weights: FloatVector,
        average: FloatVector,
        slots: dict[str, FloatVector],
        gradient: FloatVector,
        blocks: "DecayBlocks",
        learning_rate: float,
        average_decay: float,
    ) -> None:
        """One update in place. All vectors are float32[n]; `gradient` is only read."""
        from manylabel.trainer.plane.fused_passes import rmsprop

        rmsprop(
            blocks.bounds,
            blocks.l2,
            weights,
            average,
            slots["mean_square"],
            slots["momentum"],
            gradient,
            np.float32(learning_rate),
            np.float32(self.rho),
            np.float32(1 - self.rho),
            np.float32(self.momentum),
            np.float32(self.epsilon),
            np.float32(1 - average_decay),
        )


class SGD(TrainerSection):
    """buffer <- momentum * buffer - learning_rate * g;  weights <- weights + buffer

    As keras.optimizers.SGD. The learning rate is inside the buffer, unlike TF1's
    MomentumOptimizer: after a decay, the momentum gathered before it keeps the old rate.
    """

    name: Literal["sgd"] = "sgd"
    momentum: float = Field(0.9, ge=0, lt=1, description="paper, section 4.2 (ImageNet)")

    def new_slots(self, size: int) -> dict[str, FloatVector]:
        """The optimizer's state before the first update, float32[size]."""
        return {"momentum": np.zeros(size, np.float32)}

    def update(
        self,
        weights: FloatVector,
        average: FloatVector,
        slots: dict[str, FloatVector],
        gradient: FloatVector,
        blocks: "DecayBlocks",
        learning_rate: float,
        average_decay: float,
    ) -> None:
        """One update in place. All vectors are float32[n]; `gradient` is only read."""
        from manylabel.trainer.plane.fused_passes import sgd

        sgd(
            blocks.bounds,
            blocks.l2,
            weights,
            average,
            slots["momentum"],
            gradient,
            np.float32(learning_rate),
            np.float32(self.momentum),
            np.float32(1 - average_decay),
        )


Optimizer = Annotated[RMSprop | SGD, Field(discriminator="name")]


class DecayBlocks:
    """A range of n parameters cut into blocks of one L2 coefficient each.

    Attributes:
        bounds: int64[blocks, 2], half-open.
        l2: float32[blocks]; the penalty is l2 * sum(w^2), as keras.regularizers.L2 (twice
            tf.nn.l2_loss), so the gradient gains 2 * l2 * w.
    """

    def __init__(
        self, size: int, decayed: list[tuple[int, int]], l2: float | Sequence[float]
    ) -> None:
        """`decayed`: sorted disjoint half-open intervals of [0, size) that get `l2`, or each its
        own coefficient of it."""
        each = l2 if isinstance(l2, Sequence) else [l2] * len(decayed)
        if len(each) != len(decayed):
            raise ValueError(f"expected {len(decayed)} coefficients, received {len(each)}")
        bounds: list[tuple[int, int]] = []
        coefficients: list[float] = []
        edges = [0, *(edge for interval in decayed for edge in interval), size]
        for index, (start, stop) in enumerate(pairwise(edges)):
            for block in range(start, stop, BLOCK_SIZE):
                bounds.append((block, min(block + BLOCK_SIZE, stop)))
                coefficients.append(each[index // 2] if index % 2 else 0.0)
        self.bounds = np.asarray(bounds, np.int64).reshape(-1, 2)
        self.l2 = np.asarray(coefficients, np.float32)
