"""The files of a checkpoint: NumPy vectors in a zip archive, read some bytes at a time.

Not by np.load: it stops reading where a vector's header says so, and then the CRC-32 of the whole
is not compared, that of a damaged header included. And it holds a vector twice.
"""

import errno
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, TypeVar

import numpy as np

from manylabel.trainer.errors import CheckpointError, DamagedCheckpointError
from manylabel.trainer.plane.optimizers import FloatVector
from manylabel.trainer.plane.shard import STATISTICS_VECTORS

_BLOCK = 1 << 20
_VALUE_BYTES = 4

Held = tuple[tuple[int, int], tuple[int, int]]
"""The half-open ranges of parameters and of statistics in one file."""

_T = TypeVar("_T")


def read_vectors(
    path: Path, checksums: Mapping[str, int], held: Held, names: Sequence[str]
) -> dict[str, FloatVector]:
    """The vectors of these names, float32.

    Args:
        checksums: CRC-32 by name, that the manifest lists.
        held: What the file holds.

    Raises:
        DamagedCheckpointError: the file is damaged, or another one.
        CheckpointError: it cannot be read here and now.
    """
    return dict(_vectors(path, checksums, held, names, _to_array))


def check_vectors(path: Path, checksums: Mapping[str, int], held: Held) -> None:
    """Reads every byte of a file, and holds few of them; raises as `read_vectors`."""
    for _ in _vectors(path, checksums, held, list(checksums), _to_its_end):
        pass


def kind_of(vector: str) -> int:
    """Which of a file's two ranges a vector has."""
    return 1 if vector in STATISTICS_VECTORS else 0


def _vectors(
    path: Path,
    checksums: Mapping[str, int],
    held: Held,
    names: Sequence[str],
    read: Callable[[IO[bytes], int], _T],
) -> Iterator[tuple[str, _T]]:
    try:
        with zipfile.ZipFile(path) as archive:
            for name in names:
                if checksums.get(name) != archive.getinfo(f"{name}.npy").CRC:
                    raise DamagedCheckpointError(
                        f"{path}: expected the {name} that manifest.json was written with, "
                        "received others"
                    )
                start, stop = held[kind_of(name)]
                with archive.open(f"{name}.npy") as member:
                    shape, kind = _header(member)
                    if (shape, kind) != ((stop - start,), np.dtype("<f4")):
                        raise DamagedCheckpointError(
                            f"{path}: expected {stop - start} values of {name}, found shape "
                            f"{shape} of {kind}"
                        )
                    yield name, read(member, stop - start)
    except CheckpointError:
        raise
    except Exception as error:  # a damaged archive makes zipfile and NumPy raise almost anything
        raise unreadable(path, error) from error


def _header(member: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[np.float32]]:
    version = np.lib.format.read_magic(member)
    if version != (1, 0):  # What NumPy writes for headers of these lengths.
        raise ValueError(f"expected a vector of NumPy's format 1.0, received {version}")
    shape, _, kind = np.lib.format.read_array_header_1_0(member)
    return shape, kind


def _to_array(member: IO[bytes], values: int) -> FloatVector:
    vector = np.empty(values, np.float32)
    place = vector.view(np.uint8).data
    while len(place):
        block = member.read(min(_BLOCK, len(place)))
        if not block:
            raise EOFError("the vector ends early")
        place[: len(block)] = block
        place = place[len(block) :]
    _expect_end(member)
    return vector


def _to_its_end(member: IO[bytes], values: int) -> None:
    left = values * _VALUE_BYTES
    while left:
        block = member.read(min(_BLOCK, left))
        if not block:
            raise EOFError("the vector ends early")
        left -= len(block)
    _expect_end(member)


def _expect_end(member: IO[bytes]) -> None:
    """There the archive compares the checksum."""
    if member.read(1):
        raise ValueError("there is something behind the vector")


def unreadable(path: Path, error: Exception) -> CheckpointError:
    """What an error of reading `path` means: the file is damaged, or it may be intact and storage
    or memory failed. Only a damaged one may be passed over."""
    # zipfile turns an error of storage into one of the archive's structure.
    cause = error.__context__ if isinstance(error, zipfile.BadZipFile) else error
    # No file of this name, or in a damaged one an offset that leads to before its beginning.
    damage = isinstance(cause, OSError) and cause.errno in (errno.ENOENT, errno.EINVAL)
    if isinstance(cause, OSError | MemoryError) and not damage:
        return CheckpointError(
            f"{path} cannot be read: {cause!r}; it may be intact: mend what keeps it from being "
            "read, then run the same command again"
        )
    return DamagedCheckpointError(f"{path} is damaged: {error!r:.300}")  # It may repeat the file.
