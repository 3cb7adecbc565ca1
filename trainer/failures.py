"""What training puts up with, and when it stops: a pure function of what happened."""

from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field


class FailureConfig(BaseModel):
    """How much may go wrong in one run before it stops. Counts start anew when it is resumed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

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


@dataclass(frozen=True)
class FailureCounts:
    """What happened since the run began or was resumed."""

    bad_records: int = 0
    rejected_gradients: int = 0
    rejected_in_a_row: int = 0
    worker_deaths: int = 0


def reason_to_stop(counts: FailureCounts, config: FailureConfig, last_detail: str) -> str | None:
    """Why training must stop, or None while it may go on.

    Args:
        last_detail: what happened last, for the message.
    """
    limits = (
        ("unreadable records", counts.bad_records, config.max_bad_records, "max_bad_records"),
        (
            "gradients in a row with NaN or Inf (a lower learning rate or a larger epsilon helps)",
            counts.rejected_in_a_row,
            config.max_rejected_in_a_row,
            "max_rejected_in_a_row",
        ),
        (
            "gradients with NaN or Inf",
            counts.rejected_gradients,
            config.max_rejected_gradients,
            "max_rejected_gradients",
        ),
        ("worker deaths", counts.worker_deaths, config.max_worker_restarts, "max_worker_restarts"),
    )
    for what, count, limit, setting in limits:
        if count > limit:
            return (
                f"{count} {what}, more than trainer.failures.{setting} = {limit} allows; "
                f"the last: {last_detail}"
            )
    return None
