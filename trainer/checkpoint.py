"""Checkpoints: one directory each, holding a consistent cut of the whole run.

    checkpoints/00001200/shard-00000-of-00002.npz   vectors of one range, see ShardState.vectors
    checkpoints/00001200/manifest.json              what belongs together; see CheckpointManifest

A checkpoint is written under another name and renamed when it is whole, so that a directory with
a number for a name is a finished one.
"""

import shutil
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from trainer.errors import CheckpointError
from trainer.ledger import LedgerState
from trainer.optimizers import FloatVector
from trainer.parameters import ParameterLayout, cut
from trainer.protocols import Answers, CoordinatorShards
from trainer.shard import ShardState

FORMAT_VERSION = 1
MANIFEST = "manifest.json"
DIRECTORY = "checkpoints"
_UNFINISHED = ".unfinished-"


class StreamIdentity(BaseModel):
    """What decides which record a stream position means. A ledger is only valid with its own."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset_fingerprint: str
    records: int
    seed: int


class ShardFile(BaseModel):
    """One file of a checkpoint."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    bytes: int


class CheckpointManifest(BaseModel):
    """A checkpoint's description.

    Attributes:
        step: updates applied; samples: records in them.
        layout: where each variable stands in the flat vectors.
        shards: the files, in the order of their ranges.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: int
    step: int
    samples: int
    layout: ParameterLayout
    shards: tuple[ShardFile, ...]
    ledger: LedgerState
    stream: StreamIdentity


@dataclass(frozen=True)
class CheckpointInfo:
    """A finished checkpoint."""

    step: int
    samples: int
    path: Path


@dataclass(frozen=True)
class FlatWeights:
    """A model's values: parameters float32[P], statistics float32[Q], as `layout` orders them."""

    layout: ParameterLayout
    parameters: FloatVector
    statistics: FloatVector


class CheckpointWriter:
    """Writes checkpoints while training goes on, and removes old ones.

    Args:
        keep: how many of the newest stay; None for all.
        last_step: step of the checkpoint that the run was resumed from, if it was.
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
        last_step: int | None = None,
    ) -> None:
        self._run = run
        self._layout = layout
        self._stream = stream
        self._shards = shards
        self._names = [f"shard-{i:05d}-of-{shard_count:05d}.npz" for i in range(shard_count)]
        self._keep = keep
        self._pending: tuple[CheckpointManifest, Answers] | None = None
        self._finished: list[int] = []
        self.last_step = last_step
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
        except OSError as error:
            raise self._failed(step, error) from error
        answers = self._shards.save([directory / name for name in self._names], step)
        manifest = CheckpointManifest(
            format_version=FORMAT_VERSION,
            step=step,
            samples=samples,
            layout=self._layout,
            shards=tuple(ShardFile(name=name, bytes=0) for name in self._names),
            ledger=ledger,
            stream=self._stream,
        )
        self._pending = manifest, answers
        self.last_step = step

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
        files = tuple(
            ShardFile(name=name, bytes=(directory / name).stat().st_size) for name in self._names
        )
        text = manifest.model_copy(update={"shards": files}).model_dump_json()
        (directory / MANIFEST).write_text(text, encoding="utf-8")
        final = checkpoint_path(self._run, manifest.step)
        if final.exists():  # a damaged one, passed over when the run was resumed
            shutil.rmtree(final)
        directory.rename(final)

    def _failed(self, step: int, error: OSError) -> CheckpointError:
        shutil.rmtree(self._unfinished(step), ignore_errors=True)
        return CheckpointError(
            f"the checkpoint of step {step} could not be written to {self._run / DIRECTORY}: "
            f"{error}; make room, then run the same command to go on from the one before it"
        )

    def _unfinished(self, step: int) -> Path:
        return self._run / DIRECTORY / f"{_UNFINISHED}{step:08d}"


def checkpoint_path(run: Path, step: int) -> Path:
    """Where the checkpoint of `step` is, or would be."""
    return run / DIRECTORY / f"{step:08d}"


def list_checkpoints(run: Path) -> list[CheckpointInfo]:
    """The finished checkpoints of a run whose files have their full length, oldest first."""
    found = []
    for path in sorted((run / DIRECTORY).glob("[0-9]*")):
        try:
            manifest = read_manifest(path)
        except CheckpointError:
            continue  # not intact: what this function leaves out
        found.append(CheckpointInfo(manifest.step, manifest.samples, path))
    return sorted(found, key=lambda info: info.step)


def read_manifest(path: Path) -> CheckpointManifest:
    """A checkpoint's manifest.

    Raises:
        CheckpointError: it is missing or unreadable, or a file is missing or cut short.
    """
    try:
        manifest = CheckpointManifest.model_validate_json((path / MANIFEST).read_bytes())
        sizes = {file.name: (path / file.name).stat().st_size for file in manifest.shards}
    except (OSError, ValidationError) as error:
        raise CheckpointError(f"{path} is not an intact checkpoint: {error}") from error
    for file in manifest.shards:
        if sizes[file.name] != file.bytes:
            raise CheckpointError(
                f"{path / file.name}: expected {file.bytes} bytes, found {sizes[file.name]}"
            )
    return manifest


def load_weights(path: Path, *, averaged: bool) -> FlatWeights:
    """The weights of a checkpoint, Polyak-averaged or as the last update left them.

    Raises:
        CheckpointError: the checkpoint is damaged.
    """
    manifest = read_manifest(path)
    suffix = "average" if averaged else "weights"
    statistics = "statistics_average" if averaged else "statistics"
    vectors = _read_vectors(path, manifest, [suffix, statistics])
    return FlatWeights(manifest.layout, vectors[suffix], vectors[statistics])


def load_shards(path: Path, shards: int) -> list[ShardState]:
    """A checkpoint's state cut for `shards` shards, however many wrote it.

    Raises:
        CheckpointError: the checkpoint is damaged.
    """
    manifest = read_manifest(path)
    vectors = _read_vectors(path, manifest, None)
    parameter_ranges = cut(manifest.layout.parameter_count, shards)
    statistics_ranges = cut(manifest.layout.statistics_count, shards)
    return [
        ShardState.from_vectors(
            {
                name: vector[slice(*(statistics if "statistics" in name else parameters))].copy()
                for name, vector in vectors.items()
            }
        )
        for parameters, statistics in zip(parameter_ranges, statistics_ranges, strict=True)
    ]


def _read_vectors(
    path: Path, manifest: CheckpointManifest, names: list[str] | None
) -> dict[str, FloatVector]:
    """Whole vectors by name. Reading checks the CRC-32 that npz keeps of each array."""
    parts: dict[str, list[FloatVector]] = {}
    for file in manifest.shards:
        try:
            with np.load(path / file.name, allow_pickle=False) as arrays:
                for name in names or arrays.files:
                    parts.setdefault(name, []).append(arrays[name])
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise CheckpointError(f"{path / file.name} is damaged: {error}") from error
    return {name: np.concatenate(vectors) for name, vectors in parts.items()}
