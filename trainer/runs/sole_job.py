"""One training job at a time in a run, which leaves nothing of a run that it did not begin."""

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from manylabel.storage.errors import reason_of
from manylabel.storage.locks import sole_holder
from manylabel.trainer.errors import TrainingError
from manylabel.trainer.runs.checkpoint import DIRECTORY
from manylabel.trainer.runs.directory import INITIAL_WEIGHTS, is_described

_LOCK = ".lock"


@contextmanager
def sole_training_job(run: Path) -> Iterator[None]:
    """Keeps two jobs from training in one run; the lock goes with the process that holds it.

    Where the run held nothing and the job ends before it is described, nothing stays of it, nor of
    the folders that were made for it: no cluster was found, or the job was told to stop.

    Raises:
        TrainingError: another job holds it, or the run's directory cannot be made or locked.
    """
    made = [folder for folder in (run, *run.parents) if not folder.exists()]
    with ExitStack() as stack:
        try:
            stack.enter_context(sole_holder(run / _LOCK))
        except BlockingIOError as error:
            raise TrainingError(
                f"{run}: another job is training in this run; wait for it or use another --run"
            ) from error
        except OSError as error:
            raise TrainingError(
                f"{run}: expected a directory that can be written and locked, received: "
                f"{reason_of(error)}"
            ) from error
        held_nothing = os.listdir(run) == [_LOCK]
        try:
            yield
        finally:
            if held_nothing and not is_described(run):
                _remove_what_never_began(run, made)


def _remove_what_never_began(run: Path, made: Sequence[Path]) -> None:
    """While the lock is held, which goes last. What others put there stays."""
    shutil.rmtree(run / DIRECTORY, ignore_errors=True)
    with suppress(OSError):
        (run / INITIAL_WEIGHTS).unlink(missing_ok=True)
        (run / _LOCK).unlink()
        for folder in made:
            folder.rmdir()
