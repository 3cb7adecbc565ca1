"""Where a run that was interrupted goes on."""

import logging
import shutil
from pathlib import Path

from manylabel.storage.errors import reason_of
from manylabel.trainer.errors import DamagedCheckpointError, TrainingError
from manylabel.trainer.runs.checkpoint import finished_checkpoints, verify
from manylabel.trainer.runs.writer import clear_left_overs

log = logging.getLogger(__name__)

_DAMAGED = ".damaged-"


def checkpoint_to_resume(run: Path) -> Path | None:
    """The newest checkpoint whose every byte can be read; None in a run that has none yet.

    Newer ones, which are damaged, are renamed: their steps will be made again. Lists, retention,
    evaluation and export see only the history that goes on from here. No job may be writing.

    Raises:
        TrainingError: the run has checkpoints and every one is damaged; or one cannot be read for
            a reason that another try may mend (see CheckpointError), and is not given up for it.
    """
    try:
        clear_left_overs(run)
    except OSError as error:
        raise TrainingError(
            f"{run}: what a killed job left cannot be removed: {reason_of(error)}"
        ) from error
    damaged: list[Path] = []
    for path in reversed(finished_checkpoints(run)):
        try:
            verify(path)
        except DamagedCheckpointError as error:
            log.warning("passing over a damaged checkpoint: %s", error)
            damaged.append(path)
        else:
            for newer in damaged:
                _set_aside(newer)
            return path
    if damaged:
        raise TrainingError(
            f"{run}: every checkpoint is damaged ({', '.join(path.name for path in damaged)}); "
            "put back a copy of one, or use another --run. To train this run again from its "
            f"beginning, remove {damaged[0].parent}"
        )
    return None


def _set_aside(checkpoint: Path) -> None:
    aside = checkpoint.with_name(f"{_DAMAGED}{checkpoint.name}")
    try:
        if aside.exists():  # damaged once, made again, damaged again
            shutil.rmtree(aside)
        checkpoint.rename(aside)
    except OSError as error:
        raise TrainingError(
            f"{checkpoint}: this damaged checkpoint cannot be renamed to {aside.name}: "
            f"{reason_of(error)}"
        ) from error
    log.warning("the damaged checkpoint is now %s; it can be removed", aside)
