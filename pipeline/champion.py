"""A folder of runs where a command wants a run: its champion is meant."""

from pathlib import Path

from manylabel.eval.store.promotions import newest_promotion
from manylabel.pipeline.errors import CommandError
from manylabel.trainer.runs.checkpoint import checkpoint_path, describe_checkpoint
from manylabel.trainer.runs.directory import is_described


def meant_checkpoint(place: Path, step: int | None) -> tuple[Path, int | None]:
    """The run and the step that are meant: the champion's for a folder of runs that has one.

    Whatever else `place` is comes back as it is, with its step.

    Raises:
        CommandError: a step was named beside a folder of runs, or the champion's checkpoint is
            not the one that was promoted.
        CheckpointError: it is damaged, or not there any more.
        DocumentError: the promotion is damaged.
    """
    if is_described(place) or (promotion := newest_promotion(place)) is None:
        return place, step
    champion = promotion.candidate
    if step is not None:
        raise CommandError(
            f"--step {step}: {place} is a folder of runs, whose champion is {champion.name}; name "
            "a run for another step"
        )
    run = place / champion.run
    path = checkpoint_path(run, champion.step)
    if describe_checkpoint(path).digest != champion.checkpoint_digest:
        raise CommandError(
            f"{path}: expected the checkpoint that was promoted, found another one of its step; "
            "promote it, or name its run and step"
        )
    return run, champion.step
