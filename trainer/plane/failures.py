"""What training puts up with, and when it stops: a pure function of what happened."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Self

from pydantic import BeforeValidator, Field

from manylabel.trainer.section import TrainerSection

_OF_A_SMALL_RUN = 0.1
"""The largest part of what a run reads that its floors let pass."""


class Budget(TrainerSection):
    """How many of what was seen so far may go wrong: the share of it, or the floor where that is
    more. A whole number in its place is a fixed count, `share: 0`."""

    IN_FLOAT32: ClassVar[bool] = False

    floor: int = Field(ge=0, description="that may go wrong however little was seen")
    share: float = Field(ge=0, le=1, description="of what was seen since the start or resume")

    def allowed(self, seen: int) -> int:
        """How many of `seen` may have gone wrong."""
        return max(self.floor, int(self.share * seen))

    def of_a_run(self, total: int) -> Self:
        """The same for a run that is to see `total` in all: of a small one the floor would be half.
        A fixed count stays."""
        if not self.share:
            return self
        most = math.ceil(_OF_A_SMALL_RUN * total)
        return self.model_copy(update={"floor": min(self.floor, most)})


class RecordBudget(Budget):
    """Records that cannot be read: they are skipped, counted and reported."""

    floor: int = Field(
        100,
        ge=0,
        description="records, however few were read, but at most a tenth of what the run reads; "
        "three blocks of input.shuffle_block, as they come from one damaged shard",
    )
    share: float = Field(
        0.01,
        ge=0,
        le=1,
        description="of the records that were read since the start, or since it was resumed; 0: "
        "the floor is a fixed count, of a small run as well",
    )


class GradientBudget(Budget):
    """Gradients with NaN or Inf: they are not applied, and their records are skipped."""

    floor: int = Field(
        100,
        ge=0,
        description="gradients, however few there were, but at most a tenth of the run's",
    )
    share: float = Field(
        0.001,
        ge=0,
        le=1,
        description="of all gradients since the start, or since it was resumed; 0: the floor is a "
        "fixed count, of a small run as well",
    )


class RestartBudget(Budget):
    """Workers that died and were replaced."""

    floor: int = Field(10, ge=0, description="deaths, however few updates there were")
    share: float = Field(
        0.0001,
        ge=0,
        le=1,
        description="of the updates since the start, or since it was resumed: 10,000 of them are "
        "a death more; 0: the floor is a fixed count",
    )


def _fixed_count(value: Any) -> Any:
    """Before there were shares, each budget was a whole number."""
    return value if isinstance(value, Mapping | Budget) else {"floor": value, "share": 0}


class FailureConfig(TrainerSection):
    """How much may go wrong in one run before it stops. Counts start anew when it is resumed."""

    IN_FLOAT32: ClassVar[bool] = False

    max_bad_records: Annotated[RecordBudget, BeforeValidator(_fixed_count)] = Field(
        RecordBudget(), description="unreadable records; a whole number is a fixed count"
    )
    max_rejected_in_a_row: int = Field(
        20,
        ge=0,
        description="NaN or Inf gradients without a finite one between them: the weights are lost, "
        "however long the run was",
    )
    max_rejected_gradients: Annotated[GradientBudget, BeforeValidator(_fixed_count)] = Field(
        GradientBudget(), description="NaN or Inf gradients; a whole number is a fixed count"
    )
    max_worker_restarts: Annotated[RestartBudget, BeforeValidator(_fixed_count)] = Field(
        RestartBudget(), description="deaths of workers; a whole number is a fixed count"
    )
    worker_silence_seconds: float = Field(
        1800,
        gt=0,
        description="without a word from a worker, after which it is taken for dead and replaced; "
        "many times what one gradient takes, and compiling the first one. Time in which the "
        "coordinator itself was stopped, or a shard did not answer, does not count",
    )

    def of_a_run(self, records: int, gradients: int) -> Self:
        """The same for a run that reads so many records, in so many gradients."""
        return self.model_copy(
            update={
                "max_bad_records": self.max_bad_records.of_a_run(records),
                "max_rejected_gradients": self.max_rejected_gradients.of_a_run(gradients),
            }
        )


@dataclass(frozen=True)
class FailureCounts:
    """What went wrong since the run began or was resumed."""

    bad_records: int = 0
    rejected_gradients: int = 0
    rejected_in_a_row: int = 0
    worker_deaths: int = 0


@dataclass(frozen=True)
class Seen:
    """All that could have gone wrong since then.

    Attributes:
        records: done with: applied, unreadable or of a rejected gradient.
        gradients: pushed, the rejected ones included.
        updates: applied.
    """

    records: int = 0
    gradients: int = 0
    updates: int = 0


@dataclass(frozen=True)
class Stop:
    """Training must stop.

    Attributes:
        reason: for the user, one line.
        save: whether what was trained so far is to be saved first, and is sound enough for it.
        passing: whether another start may do better, as nothing has to be mended before it.
    """

    reason: str
    save: bool
    passing: bool = False


@dataclass(frozen=True)
class _Trouble:
    """One kind of what went wrong, and what of it is allowed; `seen` as `of` names it."""

    what: str
    count: int
    setting: str
    budget: Budget
    seen: int
    of: str
    leaves_sound: bool  # the weights

    def stop(self, last_detail: str) -> Stop | None:
        """None while it is within its budget."""
        if self.count <= self.budget.allowed(self.seen):
            return None
        return Stop(
            f"{self.count:,} {self.what}, more than trainer.failures.{self.setting} = "
            f"{_told(self.budget, self.seen, f'{self.seen:,} {self.of}')}; the last: {last_detail}",
            save=self.leaves_sound,
        )


def judge(
    counts: FailureCounts, seen: Seen, config: FailureConfig, last_detail: str
) -> Stop | None:
    """Whether training must stop; None while it may go on.

    Args:
        last_detail: what happened last, for the message.
    """
    not_finite = "with NaN or Inf (a lower learning rate or a larger epsilon helps)"
    if counts.rejected_in_a_row > config.max_rejected_in_a_row:
        return Stop(
            f"{counts.rejected_in_a_row} gradients in a row {not_finite}, more than trainer."
            f"failures.max_rejected_in_a_row = {config.max_rejected_in_a_row} allows; the last: "
            f"{last_detail}",
            save=False,
        )
    troubles = (
        _Trouble(
            f"gradients {not_finite}",
            counts.rejected_gradients,
            "max_rejected_gradients",
            config.max_rejected_gradients,
            seen.gradients,
            "gradients",
            leaves_sound=False,
        ),
        _Trouble(
            "unreadable records",
            counts.bad_records,
            "max_bad_records",
            config.max_bad_records,
            seen.records,
            "records",
            leaves_sound=True,
        ),
        _Trouble(
            "worker deaths",
            counts.worker_deaths,
            "max_worker_restarts",
            config.max_worker_restarts,
            seen.updates,
            "updates",
            leaves_sound=True,
        ),
    )
    stops = (trouble.stop(last_detail) for trouble in troubles)
    return next((stop for stop in stops if stop is not None), None)


def _told(budget: Budget, seen: int, of_all: str) -> str:
    if not budget.share:
        return f"{budget.floor} allows"
    return (
        f"{{floor: {budget.floor}, share: {budget.share:g}}} allows, which is "
        f"{budget.allowed(seen):,} by now, after {of_all}"
    )
