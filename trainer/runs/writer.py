"""Writing checkpoints while training goes on. `trainer.runs.checkpoint` says what they are.

Beside the checkpoints of a run, a job that is killed may leave

    checkpoints/.unfinished-00001200    being written
    checkpoints/.replaced-00001200      the one before of the same step, until the new one is there
    checkpoints/.removed-00001200       being removed
"""

import os
import shutil
import zipfile
from contextlib import suppress
from pathlib import Path

from manylabel.storage.errors import reason_of
from manylabel.storage.full_disks import is_refusal, remedy, writing
from manylabel.storage.locks import sole_user
from manylabel.storage.passing_failures import may_pass
from manylabel.storage.pins import read_pins
from manylabel.trainer.errors import (
    CheckpointError,
    CheckpointStorageError,
    NonFiniteStateError,
    UnreachableCheckpointError,
)
from manylabel.trainer.plane.layout import ParameterLayout
from manylabel.trainer.plane.protocols import Answers, CoordinatorShards
from manylabel.trainer.records.ledger import LedgerState
from manylabel.trainer.runs.checkpoint import (
    DIRECTORY,
    MANIFEST,
    CheckpointInfo,
    CheckpointManifest,
    StateFile,
    StreamIdentity,
    checkpoint_path,
    list_checkpoints,
)

_UNFINISHED = ".unfinished-"
_REPLACED = ".replaced-"
_REMOVED = ".removed-"


class CheckpointWriter:
    """Writes checkpoints while training goes on, and removes old ones.

    A failure to write one leaves those before it as they are.

    Args:
        keep: how many of the newest stay; None for all.
    """

    def __init__(
        self,
        run: Path,
        layout: ParameterLayout,
        stream: StreamIdentity,
        shards: CoordinatorShards,
        *,
        shard_count: int,
        keep: int | None = None,
    ) -> None:
        self._run = run
        self._layout = layout
        self._stream = stream
        self._shards = shards
        self._names = [f"shard-{i:05d}-of-{shard_count:05d}.npz" for i in range(shard_count)]
        self._keep = keep
        self._pending: tuple[CheckpointManifest, Answers] | None = None
        self._finished: list[int] = []

    def begin(self, step: int, samples: int, ledger: LedgerState) -> None:
        """Has every shard write its state as of now; waits for an earlier checkpoint first.

        Raises:
            CheckpointError: a file could not be written, or the state holds NaN or Inf.
            CheckpointStorageError: a file could not be written, and that is not for want of room;
                an UnreachableCheckpointError where it may pass.
        """
        self.poll(wait=True)
        directory = self._directory(_UNFINISHED, step)
        try:
            if directory.exists():  # of a try before this one, and not removable then
                shutil.rmtree(directory)
            directory.mkdir(parents=True)
            answers = self._shards.save([directory / name for name in self._names], step)
        except (OSError, NonFiniteStateError) as error:
            raise self._failed(step, error) from error
        manifest = CheckpointManifest(
            step=step,
            samples=samples,
            layout=self._layout,
            shards=tuple(StateFile(name=name, bytes=0, vectors={}) for name in self._names),
            ledger=ledger,
            stream=self._stream,
        )
        self._pending = manifest, answers

    def poll(self, *, wait: bool = False) -> None:
        """Publishes the checkpoint that was begun, if its files are written.

        Raises:
            CheckpointError: a file could not be written, or the state holds NaN or Inf.
            CheckpointStorageError: a file could not be written, and that is not for want of room;
                an UnreachableCheckpointError where it may pass.
        """
        if self._pending is None:
            return
        manifest, answers = self._pending
        try:
            if not self._shards.settled(answers, wait=wait):
                return
            self._publish(manifest)
        except (OSError, NonFiniteStateError) as error:
            self._pending = None
            raise self._failed(manifest.step, error) from error
        self._pending = None
        self._finished.append(manifest.step)
        if self._keep is not None:
            for info in list_checkpoints(self._run)[: -self._keep]:
                self._remove(info)

    def take_finished(self) -> list[int]:
        """Steps of the checkpoints published since the last call."""
        finished, self._finished = self._finished, []
        return finished

    def _publish(self, manifest: CheckpointManifest) -> None:
        directory = self._directory(_UNFINISHED, manifest.step)
        files = tuple(_describe(directory / name) for name in self._names)
        manifest_path = directory / MANIFEST
        with writing(manifest_path), manifest_path.open("wb") as file:
            file.write(manifest.model_copy(update={"shards": files}).to_bytes())
            file.flush()
            os.fsync(file.fileno())  # as the shards do: the checkpoint before may be removed next
        final = checkpoint_path(self._run, manifest.step)
        replaced = self._directory(_REPLACED, manifest.step)
        if final.exists():  # one of this step with fewer records settled
            final.rename(replaced)
        directory.rename(final)
        shutil.rmtree(replaced, ignore_errors=True)  # the next start tries again

    def _remove(self, checkpoint: CheckpointInfo) -> None:
        """Unless it is to stay (`storage.pins`), or somebody reads it: then its turn comes with the
        next checkpoint."""
        removed = self._directory(_REMOVED, checkpoint.step)
        try:
            with sole_user(checkpoint.path / MANIFEST):
                if read_pins(self._run).hold(checkpoint.step):
                    return
                # Under another name first: half a checkpoint must not look like a damaged one.
                checkpoint.path.rename(removed)
                shutil.rmtree(removed)
        except (BlockingIOError, FileNotFoundError):  # read by somebody; removed by somebody else
            return
        except OSError as error:
            raise _kind(error)(
                f"the old checkpoint {checkpoint.path} could not be removed: {reason_of(error)}"
            ) from error

    def _failed(self, step: int, error: OSError | NonFiniteStateError) -> CheckpointError:
        with suppress(OSError):  # what could not be written may not be removable; the next start
            clear_left_overs(self._run)  # tries again
        if isinstance(error, OSError):
            return _kind(error)(
                f"the checkpoint of step {step} could not be written to {self._run / DIRECTORY}: "
                f"{reason_of(error)}; {remedy(error.errno)}, then run the same command to go on "
                "from the last one that could"
            )
        before = [f"step {info.step}" for info in list_checkpoints(self._run)[-1:]] or ["none"]
        return CheckpointError(
            f"the checkpoint of step {step} was not written, as {reason_of(error)}; the one before "
            f"it, {before[0]}, is as it was: lower trainer.schedule.learning_rate, then run the "
            "same command to go on from there"
        )

    def _directory(self, prefix: str, step: int) -> Path:
        return self._run / DIRECTORY / f"{prefix}{step:08d}"


def _kind(error: OSError) -> type[CheckpointError]:
    if is_refusal(error):
        return CheckpointError
    return UnreachableCheckpointError if may_pass(error) else CheckpointStorageError


def clear_left_overs(run: Path) -> None:
    """Removes what a job that was killed left beside the checkpoints, and puts back a checkpoint
    that was about to be replaced. No job may be writing.

    Raises:
        OSError: something cannot be removed.
    """
    for replaced in (run / DIRECTORY).glob(f"{_REPLACED}*"):
        final = replaced.with_name(replaced.name.removeprefix(_REPLACED))
        if not final.exists():
            replaced.rename(final)
    for prefix in (_UNFINISHED, _REPLACED, _REMOVED):
        for left_over in (run / DIRECTORY).glob(f"{prefix}*"):
            shutil.rmtree(left_over)


def _describe(path: Path) -> StateFile:
    with zipfile.ZipFile(path) as archive:
        vectors = {
            member.filename.removesuffix(".npy"): member.CRC for member in archive.infolist()
        }
    return StateFile(name=path.name, bytes=path.stat().st_size, vectors=vectors)
