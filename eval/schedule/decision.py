"""What may be decided about a schedule, and the record that a decision becomes."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from manylabel.eval.schedule.records import FireAction, FireRecord, Outcome


class Act(StrEnum):
    """What to do. The first three are attempts, the next two settle due times without one."""

    START = "start"
    TRY_AGAIN = "try again"
    GIVE_UP = "give up"
    SKIP = "skip"
    MISS = "miss"
    WAIT = "wait"


@dataclass(frozen=True)
class Decision:
    """One thing to do, or why there is nothing to do.

    Attributes:
        reason: For people.
        key: Of the fire; None with nothing to do.
        due: See `FireRecord.due`.
        coalesced: See `FireRecord.coalesced`.
        run, step, checkpoint_digest: Of a new checkpoint.
        before: The attempt before this one.
        next_due: With nothing to do before that.
    """

    schedule: str
    act: Act
    reason: str
    key: str | None = None
    due: datetime | None = None
    coalesced: int = 0
    run: str | None = None
    step: int | None = None
    checkpoint_digest: str | None = None
    before: FireRecord | None = None
    next_due: datetime | None = None

    def record(self, now: datetime, host: str, pid: int) -> FireRecord:
        """What is claimed, so that nobody else does the same."""
        assert self.key is not None, "nothing is claimed where nothing is to be done"
        actions = {Act.SKIP: FireAction.SKIPPED_OVERLAP, Act.MISS: FireAction.MISSED}
        action = actions.get(self.act, FireAction.STARTED)
        claimed = {
            "action": action,
            "reason": self.reason,
            "started": now,
            "host": host,
            "pid": pid,
            "heartbeat": now,
            "ended": None if action is FireAction.STARTED else now,
        }
        if self.before is not None:
            earlier = self.before.model_dump(exclude={"outcome", "retry_at", "error", "commands"})
            again = {"attempt": self.before.attempt + 1, "failures": failures_of(self.before)}
            return FireRecord.model_validate(earlier | claimed | again)
        return FireRecord.model_validate(
            {
                "schedule": self.schedule,
                "key": self.key,
                "due": self.due or now,
                "coalesced": self.coalesced,
                "run": self.run,
                "step": self.step,
                "checkpoint_digest": self.checkpoint_digest,
                "first_started": now,
            }
            | claimed
        )


def failures_of(fire: FireRecord) -> int:
    """With the attempt itself, which failed, or died, or was stopped, which is none."""
    return fire.failures + (fire.outcome is not Outcome.INTERRUPTED)
