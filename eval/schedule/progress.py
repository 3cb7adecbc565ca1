"""How far a schedule for new checkpoints is with a run."""

from collections.abc import Sequence
from dataclasses import dataclass

from manylabel.eval.schedule.config import CatchUp, ScheduleConfig
from manylabel.eval.schedule.records import FireRecord, checkpoint_key


@dataclass(frozen=True)
class CheckpointFact:
    """A checkpoint that there is.

    Attributes:
        digest: What it is.
        evaluated: Whether it has an evaluation with the schedule's settings already.
    """

    step: int
    digest: str
    evaluated: bool = False


@dataclass(frozen=True)
class RunFacts:
    """A run: the name of its directory, and its intact checkpoints, oldest first."""

    name: str
    checkpoints: tuple[CheckpointFact, ...]


@dataclass(frozen=True)
class Progress:
    """What is done and what is not.

    Attributes:
        last: Step of the newest checkpoint that was dealt with, whether it still is there or not.
        new: Checkpoints to evaluate, oldest first; each with how many older new ones it stands for.
        unsettled: Fires that were begun and are neither done nor given up.
        there: Those of them whose checkpoint is there.
    """

    run: str
    last: int | None
    new: tuple[tuple[CheckpointFact, int], ...]
    unsettled: tuple[FireRecord, ...]
    there: tuple[FireRecord, ...]

    def held_after(self, config: ScheduleConfig) -> int:
        """The step above which checkpoints wait for the schedule; -1: all of them."""
        waiting = [checkpoint.step for checkpoint, _ in self.new]
        waiting += [fire.step for fire in self.there if fire.step is not None]
        if waiting:
            return min(waiting) - 1
        return -1 if self.last is None else self.last + (config.at_least_every or 1) - 1


def progress_of(run: RunFacts, config: ScheduleConfig, fires: Sequence[FireRecord]) -> Progress:
    """Where a schedule stands with a run.

    Args:
        fires: Last attempts of the schedule's fires, of any run.
    """
    of_run = {fire.key: fire for fire in fires if fire.run == run.name}
    checkpoints = {each.step: each for each in run.checkpoints}
    # A step that was made again is another checkpoint: what was done with the first does not count.
    done_and_gone = {fire.step for fire in of_run.values() if fire.step is not None}
    every = config.at_least_every
    last: int | None = None  # Dealt with, or new.
    dealt_with: int | None = None
    new: list[CheckpointFact] = []
    for step in sorted(done_and_gone | checkpoints.keys()):
        checkpoint = checkpoints.get(step)
        if checkpoint is None or checkpoint.evaluated or _key(run, checkpoint) in of_run:
            last = dealt_with = step
        elif every is None or last is None or step - last >= every:
            last = step
            new.append(checkpoint)
    there = {_key(run, each) for each in run.checkpoints}
    unsettled = [fire for fire in of_run.values() if not fire.is_settled]
    return Progress(
        run=run.name,
        last=dealt_with,
        new=tuple(_chosen(new, dealt_with, config)),
        unsettled=tuple(unsettled),
        there=tuple(fire for fire in unsettled if fire.key in there),
    )


def _key(run: RunFacts, checkpoint: CheckpointFact) -> str:
    return checkpoint_key(run.name, checkpoint.step, checkpoint.digest)


def _chosen(
    new: Sequence[CheckpointFact], dealt_with: int | None, config: ScheduleConfig
) -> list[tuple[CheckpointFact, int]]:
    if config.catch_up is CatchUp.ALL:
        return [(each, 0) for each in new]
    newer = [each for each in new if dealt_with is None or each.step > dealt_with]
    return [(newer[-1], len(newer) - 1)] if newer else []
