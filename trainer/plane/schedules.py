"""Learning rate and averaging decay as functions of how much training was applied."""

import enum

from pydantic import BaseModel, ConfigDict, Field


class ScheduleUnit(enum.StrEnum):
    """What `decay_every` counts. The paper's "3,000,000 samples" reads either way."""

    SAMPLES = "samples"  # images whose gradients were applied
    STEPS = "steps"  # applied gradient updates


class ExponentialDecay(BaseModel):
    """learning_rate * decay_rate ** (progress / decay_every), floored to whole decays if staircase.

    The form of tf.keras.optimizers.schedules.ExponentialDecay.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    learning_rate: float = Field(1e-3, gt=0, description="at the start; paper, section 4.2 (JFT)")
    decay_rate: float = Field(0.9, gt=0, le=1, description="factor; paper, section 4.2 (JFT)")
    decay_every: int = Field(3_000_000, gt=0, description="in `unit`s; paper, section 4.2 (JFT)")
    unit: ScheduleUnit = Field(ScheduleUnit.SAMPLES, description="what decay_every counts")
    staircase: bool = Field(True, description="decay in steps instead of continuously")

    def at(self, *, samples: int, steps: int) -> float:
        """The learning rate of the update that follows `samples` images and `steps` updates."""
        decays = (samples if self.unit is ScheduleUnit.SAMPLES else steps) / self.decay_every
        if self.staircase:
            decays = float(int(decays))
        return self.learning_rate * self.decay_rate**decays


class PolyakAverage(BaseModel):
    """average <- decay * average + (1 - decay) * weights, after every update."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    decay: float = Field(
        0.9999,
        ge=0,
        lt=1,
        description="per update; open in the paper, TF's inception_distributed_train uses 0.9999",
    )
    warm_up: bool = Field(
        True,
        description="use min(decay, (1 + n) / (10 + n)) for update n, as TF's moving average "
        "with num_updates does, so that the first weights are forgotten early",
    )

    def decay_at(self, step: int) -> float:
        """The decay for the update that makes version `step` (1 for the first update)."""
        return min(self.decay, (1 + step) / (10 + step)) if self.warm_up else self.decay
