"""What training puts up with, and when it stops: a pure function of what happened."""

from dataclasses import dataclass

from pydantic import Field

from manylabel.trainer.section import TrainerSection


class FailureConfig(TrainerSection):
    """How much may go wrong in one run before it stops. Counts start anew when it is resumed."""

    max_bad_records: int = Field(
        100, ge=0, description="records; unreadable ones are skipped, counted and reported"
    )
    max_rejected_in_a_row: int = Field(
        20,
        ge=0,
        description="NaN or Inf gradients without a finite one between them: the weights are lost",
    )
    max_rejected_gradients: int = Field(1000, ge=0, description="NaN or Inf gradients in all")
    max_worker_restarts: int = Field(10, ge=0, description="workers that died and were replaced")
    worker_silence_seconds: float = Field(
        1800,
        gt=0,
        description="without a word from a worker, after which it is taken for dead and replaced; "
        "many times what one gradient takes, and compiling the first one",
    )


@dataclass(frozen=True)
class FailureCounts:
    """What happened since the run began or was resumed."""

    bad_records: int = 0
    rejected_gradients: int = 0
    rejected_in_a_row: int = 0
    worker_deaths: int = 0


@dataclass(frozen=True)
class Stop:
    """Training must stop.

    Attributes:
        reason: for the user, one line.
        save: whether what was trained so far is to be saved first, and is sound enough for it.
    """

    reason: str
    save: bool


def judge(counts: FailureCounts, config: FailureConfig, last_detail: str) -> Stop | None:
    """Whether training must stop; None while it may go on.

    Args:
        last_detail: what happened last, for the message.
    """
    not_finite = "with NaN or Inf (a lower learning rate or a larger epsilon helps)"
    limits = (
        # what, how many, setting that bounds it, whether the weights are still sound
        (
            f"gradients in a row {not_finite}",
            counts.rejected_in_a_row,
            "max_rejected_in_a_row",
            False,
        ),
        (f"gradients {not_finite}", counts.rejected_gradients, "max_rejected_gradients", False),
        ("unreadable records", counts.bad_records, "max_bad_records", True),
        ("worker deaths", counts.worker_deaths, "max_worker_restarts", True),
    )
    for what, count, setting, sound in limits:
        limit = getattr(config, setting)
        if count > limit:
            return Stop(
                f"{count} {what}, more than trainer.failures.{setting} = {limit} allows; "
                f"the last: {last_detail}",
                save=sound,
            )
    return None
