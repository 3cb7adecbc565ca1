"""Learning rate and averaging decay as functions of how much training was applied."""

import enum
from typing import Annotated, Any, Self

from pydantic import (
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    field_validator,
)

from manylabel.trainer.section import TrainerSection


class ScheduleUnit(enum.StrEnum):
    """What `decay_every` counts. The paper's "3,000,000 samples" reads either way."""

    SAMPLES = "samples"  # images whose gradients were applied
    STEPS = "steps"  # applied gradient updates


class ExponentialDecay(TrainerSection):
    """learning_rate * decay_rate ** (progress / decay_every), floored to whole decays if staircase.

    The form of tf.keras.optimizers.schedules.ExponentialDecay.
    """

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


class AverageDecay(enum.StrEnum):
    """How the averaging decay is chosen, when it is not given."""

    AUTO = "auto"


class PolyakAverage(TrainerSection):
    """average <- decay * average + (1 - decay) * weights, after every update.

    The average is of the last 1 / (1 - decay) updates or so.
    """

    decay: AverageDecay | Annotated[float, Field(ge=0, lt=1)] = Field(
        0.9999,
        description="per update; open in the paper, TF's inception_distributed_train uses 0.9999. "
        "auto: 1 - 10 / the run's updates, an average of about its last tenth, since 0.9999 "
        "averages over more than a short run has",
    )
    warm_up: bool = Field(
        True,
        description="use min(decay, (1 + n) / (10 + n)) for update n, as TF's moving average "
        "with num_updates does, so that the first weights are forgotten early",
    )

    @field_validator("decay", mode="wrap")
    @classmethod
    def _is_auto_or_a_number(
        cls, value: Any, check: ValidatorFunctionWrapHandler
    ) -> AverageDecay | float:
        """One problem instead of one for each branch. YAML's yes, no, on and off are no numbers."""
        try:
            if not isinstance(value, bool):
                checked: AverageDecay | float = check(value)
                return checked
        except ValidationError:
            if isinstance(value, float) and 0 <= value < 1:
                raise  # it is what float32 makes of it
        raise ValueError(f"expected auto or a number in [0, 1), received {value!r:.60}")

    def over(self, updates: int) -> Self:
        """The same with the decay as a number, for a run of so many updates."""
        if self.decay is not AverageDecay.AUTO:
            return self
        return self.model_copy(update={"decay": max(0.0, 1 - 10 / max(updates, 1))})

    def decay_at(self, step: int) -> float:
        """The decay for the update that makes version `step` (1 for the first update).

        Raises:
            ValueError: the decay is `auto`; `over` makes a number of it.
        """
        if self.decay is AverageDecay.AUTO:
            raise ValueError("the decay is auto, which is known for a number of updates only")
        return min(self.decay, (1 + step) / (10 + step)) if self.warm_up else self.decay
