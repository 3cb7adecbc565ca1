"""Writing checkpoints while training goes on. `trainer.checkpoint` says what they are."""

import os
import shutil
import zipfile
from pathlib import Path

from trainer.checkpoint import (
    DIRECTORY,
    FORMAT_VERSION,
    MANIFEST,
    CheckpointManifest,
    ShardFile,
    StreamIdentity,
    checkpoint_path,
    list_checkpoints,
)
from trainer.errors import CheckpointError
from trainer.ledger import LedgerState
from trainer.parameters import ParameterLayout
from trainer.protocols import Answers, CoordinatorShards

_UNFINISHED = ".unfinished-"


class CheckpointWriter:
    """Writes checkpoints while training goes on, and removes old ones.

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
        for left_over in (run / DIRECTORY).glob(f"{_UNFINISHED}*"):
            shutil.rmtree(left_over)

    def begin(self, step: int, samples: int, ledger: LedgerState) -> None:
        """Has every shard write its state as of now; waits for an earlier checkpoint first.

        Raises:
            CheckpointError: a file could not be written.
        """
        self.poll(wait=True)
        directory = self._unfinished(step)
        try:
            directory.mkdir(parents=True)
            answers = self._shards.save([directory / name for name in self._names], step)
        except OSError as error:
            raise self._failed(step, error) from error
        manifest = CheckpointManifest(
            format_version=FORMAT_VERSION,
            step=step,
            samples=samples,
            layout=self._layout,
            shards=tuple(ShardFile(name=name, bytes=0, vectors=()) for name in self._names),
            ledger=ledger,
            stream=self._stream,
        )
        self._pending = manifest, answers

    def poll(self, *, wait: bool = False) -> None:
        """Publishes the checkpoint that was begun, if its files are written.

        Raises:
            CheckpointError: a file could not be written.
        """
        if self._pending is None:
            return
        manifest, answers = self._pending
        try:
            if not self._shards.settled(answers, wait=wait):
                return
            self._publish(manifest)
        except OSError as error:
            self._pending = None
            raise self._failed(manifest.step, error) from error
        self._pending = None
        self._finished.append(manifest.step)
        if self._keep is not None:
            for info in list_checkpoints(self._run)[: -self._keep]:
                shutil.rmtree(info.path)

    def take_finished(self) -> list[int]:
        """Steps of the checkpoints published since the last call."""
        finished, self._finished = self._finished, []
        return finished

    def _publish(self, manifest: CheckpointManifest) -> None:
        directory = self._unfinished(manifest.step)
        files = tuple(_describe(directory / name) for name in self._names)
        text = manifest.model_copy(update={"shards": files}).model_dump_json()
        with (directory / MANIFEST).open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())  # as the shards do: the checkpoint before may be removed next
        final = checkpoint_path(self._run, manifest.step)
        # An earlier one of this step: damaged and passed over, or with fewer records settled.
        replaced = self._unfinished(manifest.step).with_suffix(".replaced")
        if final.exists():
            final.rename(replaced)
        directory.rename(final)
        if replaced.exists():
            shutil.rmtree(replaced)

    def _failed(self, step: int, error: OSError) -> CheckpointError:
        shutil.rmtree(self._unfinished(step), ignore_errors=True)
        return CheckpointError(
            f"the checkpoint of step {step} could not be written to {self._run / DIRECTORY}: "
            f"{error}; make room, then run the same command to go on from the one before it"
        )

    def _unfinished(self, step: int) -> Path:
        return self._run / DIRECTORY / f"{_UNFINISHED}{step:08d}"


def _describe(path: Path) -> ShardFile:
    with zipfile.ZipFile(path) as archive:
        vectors = tuple(member.removesuffix(".npy") for member in archive.namelist())
    return ShardFile(name=path.name, bytes=path.stat().st_size, vectors=vectors)
