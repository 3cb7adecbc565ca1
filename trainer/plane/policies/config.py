"""The settings of the update policies, and the policy that they make."""

import enum
from typing import Annotated, Literal

from pydantic import Field

from manylabel.trainer.plane.policies.asynchronous import AsynchronousPolicy
from manylabel.trainer.plane.policies.compensation import Compensation, NoCompensation
from manylabel.trainer.plane.policies.events import UpdatePolicy
from manylabel.trainer.plane.policies.synchronous import SynchronousPolicy
from manylabel.trainer.section import TrainerSection

_TRACE = "writes what the policy is told and decides to updates/STEP.jsonl of the run"


class BeyondBound(enum.StrEnum):
    """What becomes of gradients that would be too stale."""

    WAIT = "wait"  # they are not begun before others are done
    DROP = "drop"  # they are computed, and not applied; their records are dealt again


class StalenessBound(TrainerSection):
    """How stale a gradient may be."""

    bound: int = Field(
        ge=0,
        description="updates between a gradient's weights and its application; 0 is serial "
        "training, W workers of equal speed never wait from 2 (W - 1) on",
    )
    beyond: BeyondBound = Field(BeyondBound.WAIT, description="wait, or drop what is too stale")


class Asynchronous(TrainerSection):
    """A gradient is an update as soon as it is there; paper, section 4.4 (JFT)."""

    name: Literal["asynchronous"] = "asynchronous"
    staleness: StalenessBound | None = Field(
        None, description="none: whatever comes is applied; the paper mentions no bound"
    )
    compensation: Compensation = Field(
        NoCompensation(), description="of staleness; the paper mentions none"
    )
    trace: bool = Field(False, description=_TRACE)

    @property
    def waits(self) -> bool:
        """Whether a worker may have to wait for others."""
        return self.staleness is not None and self.staleness.beyond is BeyondBound.WAIT

    def gradients_per_update(self, workers: int) -> int:
        """How many gradients make an update, of a program of `workers`."""
        return 1

    def policy(self, workers: int, version: int) -> UpdatePolicy:
        """For a program of `workers`, after `version` updates."""
        wait_at = drop_above = None
        if self.staleness is not None:
            if self.waits:
                wait_at = self.staleness.bound
            else:
                drop_above = self.staleness.bound
        return AsynchronousPolicy(wait_at=wait_at, drop_above=drop_above, version=version)


class Synchronous(TrainerSection):
    """An update is the mean of a gradient of each worker; paper, section 4.4 (ImageNet).

    Of W workers and b backups, W - b gradients make an update.
    """

    name: Literal["synchronous"] = "synchronous"
    backup_workers: int = Field(
        0,
        ge=0,
        description="of topology.workers, those that a round does not wait for; the paper "
        "mentions none, Chen et al. 2016 have 4 beside 96",
    )
    trace: bool = Field(False, description=_TRACE)

    @property
    def waits(self) -> bool:
        """Whether a worker may have to wait for others."""
        return True

    @property
    def compensation(self) -> Compensation:
        """None: nothing that is applied is stale."""
        return NoCompensation()

    def gradients_per_update(self, workers: int) -> int:
        """How many gradients make an update, of a program of `workers`."""
        return workers - self.backup_workers

    def policy(self, workers: int, version: int) -> UpdatePolicy:
        """For a program of `workers`, after `version` updates."""
        return SynchronousPolicy(self.gradients_per_update(workers), version=version)


UpdateConfig = Annotated[Asynchronous | Synchronous, Field(discriminator="name")]
