"""Checkpoints: one directory each, holding a consistent cut of the whole run.

    checkpoints/00001200/shard-00000-of-00002.npz   vectors of one range, see ShardState.vectors
    checkpoints/00001200/manifest.json              what belongs together; see CheckpointManifest

A checkpoint is written under another name and renamed when it is whole, so that a directory with
a number for a name is a finished one.
"""

import errno
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict
from upath import UPath

from manylabel.storage.documents import Count, Document, sha256_of
from manylabel.storage.errors import DamagedDocumentError, OtherVersionError, reason_of
from manylabel.storage.locations import OwnPathBelow
from manylabel.storage.locks import shared
from manylabel.storage.stand_ins import read_head, text_instead
from manylabel.trainer.errors import CheckpointError, DamagedCheckpointError
from manylabel.trainer.plane.layout import ParameterLayout, cut
from manylabel.trainer.plane.optimizers import FloatVector
from manylabel.trainer.plane.shard import ShardState
from manylabel.trainer.records.ledger import LedgerState
from manylabel.trainer.runs.vector_files import (
    Held,
    check_vectors,
    kind_of,
    read_vectors,
    unreadable,
)

MANIFEST = "manifest.json"
DIRECTORY = "checkpoints"

_NPZ = b"PK\x03\x04"
"""How the files of a state begin, whole or cut: an .npz is a zip."""

# What a file system without locks answers (some network mounts). Nothing can train there either,
# so nothing is removed.
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP)


class StreamIdentity(BaseModel):
    """What decides which record a stream position means. A ledger is only valid with its own."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset_digest: str
    seed: int
    shuffle_block: int
    shuffle_mix: int


class StateFile(BaseModel):
    """One file of a checkpoint: its length, and its vectors with the CRC-32 of each.

    The checksums are those that the file holds itself. Here as well, they tie the file to its
    manifest, whose digest is then that of the whole checkpoint.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: OwnPathBelow
    bytes: Count
    vectors: dict[str, int]


class CheckpointManifest(Document):
    """A checkpoint's description.

    Attributes:
        step: updates applied; samples: records in them.
        layout: where each variable stands in the flat vectors.
        shards: the files, in the order of their ranges.
    """

    NOUN: ClassVar[str] = "a checkpoint's manifest"
    REMEDY: ClassVar[str] = "use the version of manylabel that wrote the checkpoint"

    format_version: Literal[2] = 2
    step: Count
    samples: Count
    layout: ParameterLayout
    shards: tuple[StateFile, ...]
    ledger: LedgerState
    stream: StreamIdentity


@dataclass(frozen=True)
class CheckpointInfo:
    """A finished checkpoint.

    Attributes:
        digest: equal for equal content only.
        dataset_digest: content digest of the dataset that it learnt from.
    """

    step: int
    samples: int
    path: Path
    digest: str
    dataset_digest: str


@dataclass(frozen=True)
class FlatWeights:
    """A model's values: parameters float32[P], statistics float32[Q], as `layout` orders them."""

    layout: ParameterLayout
    parameters: FloatVector
    statistics: FloatVector


def checkpoint_path(run: Path, step: int) -> Path:
    """Where the checkpoint of `step` is, or would be."""
    return run / DIRECTORY / f"{step:08d}"


def finished_checkpoints(run: Path) -> list[Path]:
    """The checkpoints of a run that were finished once, oldest first; some may be damaged.

    Raises:
        CheckpointError: storage does not answer, which is not the same as there being none.
    """
    try:
        found = [path for path in (run / DIRECTORY).iterdir() if path.name.isdecimal()]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise CheckpointError(f"{run / DIRECTORY} cannot be listed: {reason_of(error)}") from error
    return sorted(found, key=lambda path: int(path.name))


def list_checkpoints(
    run: Path, on_damaged: Callable[[DamagedCheckpointError], None] = lambda error: None
) -> list[CheckpointInfo]:
    """The finished checkpoints of a run whose files have their full length, oldest first.

    Args:
        on_damaged: told of each that is left out.

    Raises:
        CheckpointError: one is of another format version, or storage does not answer.
    """
    found = []
    for path in finished_checkpoints(run):
        try:
            found.append(describe_checkpoint(path))
        except DamagedCheckpointError as error:
            on_damaged(error)
    return found


@contextmanager
def kept(checkpoints: Iterable[CheckpointInfo]) -> Iterator[list[CheckpointInfo]]:
    """Keeps retention from removing checkpoints while the block reads them.

    Yields:
        Those of them that were still there.

    Raises:
        CheckpointError: storage does not answer.
    """
    with ExitStack() as stack:
        found = []
        for info in checkpoints:
            try:
                stack.enter_context(shared(info.path / MANIFEST))
            except (FileNotFoundError, BlockingIOError):  # removed, or about to be
                continue
            except OSError as error:
                if error.errno not in _NO_LOCKS:
                    raise unreadable(info.path / MANIFEST, error) from error
            found.append(info)
        yield found


def describe_checkpoint(path: Path) -> CheckpointInfo:
    """Of the checkpoint at `path`; raises as `read_manifest`."""
    manifest = read_manifest(path)
    return CheckpointInfo(
        manifest.step,
        manifest.samples,
        path,
        digest=sha256_of(manifest.to_bytes()),
        dataset_digest=manifest.stream.dataset_digest,
    )


def read_manifest(path: Path) -> CheckpointManifest:
    """A checkpoint's manifest.

    Raises:
        DamagedCheckpointError: it is missing or senseless, or a file is missing or cut short.
        CheckpointError: it is of another format version, or storage does not answer.
    """
    try:
        manifest = CheckpointManifest.read(path / MANIFEST)
        sizes = {file.name: (path / file.name).stat().st_size for file in manifest.shards}
    except OtherVersionError as error:
        raise CheckpointError(str(error)) from error
    except DamagedDocumentError as error:
        raise DamagedCheckpointError(str(error)) from error
    except FileNotFoundError as error:
        raise DamagedCheckpointError(
            f"{path} is not an intact checkpoint: {reason_of(error)}"
        ) from error
    except OSError as error:
        raise unreadable(path, error) from error
    for file in manifest.shards:
        if sizes[file.name] != file.bytes:
            raise DamagedCheckpointError(
                f"{path / file.name}: expected {file.bytes} bytes, found {sizes[file.name]}"
                f"{_instead(path / file.name)}"
            )
    return manifest


def _instead(path: Path) -> str:
    """What lies in a file's place, for a message; "" where that cannot be told."""
    try:
        found = text_instead(read_head(UPath(path)), ours=_NPZ)
    except OSError:
        return ""
    return "" if found is None else f", {found}"


def verify(path: Path) -> None:
    """Reads every byte of a checkpoint, some of them at a time.

    Raises:
        DamagedCheckpointError: the checkpoint is damaged.
        CheckpointError: it is of another format version, or cannot be read here and now.
    """
    for file, held in _files(read_manifest(path), path):
        check_vectors(path / file.name, file.vectors, held)


def load_weights(checkpoint: CheckpointInfo, *, averaged: bool) -> FlatWeights:
    """The weights of a checkpoint, Polyak-averaged or as the last update left them.

    Raises:
        CheckpointError: it is damaged, cannot be read, or is not the one described any more, since
            a resumed run made the step again.
    """
    path = checkpoint.path
    manifest = read_manifest(path)
    if sha256_of(manifest.to_bytes()) != checkpoint.digest:
        raise CheckpointError(f"{path}: was replaced just now; run the same command again")
    names = ("average", "statistics_average") if averaged else ("weights", "statistics")
    files = _files(manifest, path)
    parts = [read_vectors(path / file.name, file.vectors, held, names) for file, held in files]
    parameters, statistics = (_joined([part.pop(name) for part in parts]) for name in names)
    return FlatWeights(manifest.layout, parameters, statistics)


def load_shard(path: Path, shard: int, shards: int) -> ShardState:
    """The state of one of `shards` shards, however many wrote the checkpoint.

    Only the files that overlap the shard's ranges are read.

    Raises:
        CheckpointError: the checkpoint is damaged, of another format version, or cannot be read.
    """
    manifest = read_manifest(path)
    layout = manifest.layout
    wanted = cut(layout.parameter_count, shards)[shard], cut(layout.statistics_count, shards)[shard]
    files = _files(manifest, path)
    needed = [
        (file, held) for file, held in files if not all(map(_is_empty, map(_overlap, held, wanted)))
    ]
    parts: dict[str, list[FloatVector]] = {}
    for file, held in needed or files[:1]:  # a shard that holds nothing has its vectors as well
        for name, vector in read_vectors(
            path / file.name, file.vectors, held, list(file.vectors)
        ).items():
            kind = kind_of(name)
            parts.setdefault(name, []).append(vector[_overlap(held[kind], wanted[kind])])
    return ShardState.from_vectors({name: _joined(parts.pop(name)) for name in list(parts)})


def _joined(parts: list[FloatVector]) -> FloatVector:
    """One vector of several; one that is whole already is not copied."""
    whole = parts[0] if parts[0].base is None else parts[0].base
    if len(parts) == 1 and isinstance(whole, np.ndarray) and whole.shape == parts[0].shape:
        return whole
    return np.concatenate(parts)


def _files(manifest: CheckpointManifest, path: Path) -> list[tuple[StateFile, Held]]:
    """Each file of a checkpoint with what it holds."""
    if not manifest.shards:
        raise DamagedCheckpointError(f"{path / MANIFEST}: expected files of vectors, lists none")
    layout, count = manifest.layout, len(manifest.shards)
    held = zip(cut(layout.parameter_count, count), cut(layout.statistics_count, count), strict=True)
    return list(zip(manifest.shards, held, strict=True))


def _overlap(held: tuple[int, int], wanted: tuple[int, int]) -> slice:
    """Where `wanted` lies in a vector that holds [held[0], held[1])."""
    start = max(held[0], wanted[0])
    return slice(start - held[0], max(start, min(held[1], wanted[1])) - held[0])


def _is_empty(part: slice) -> bool:
    return part.start >= part.stop
