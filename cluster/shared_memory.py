"""Disks that Ray writes to: shared memory, in which it keeps its object store where there is
enough, and its folder of temporary files.

The store is a file that gets its pages one by one. A process that writes to one for which there is
no room any more is ended by SIGBUS, and says nothing.
"""

import errno
import logging
import os
from pathlib import Path

import ray
from ray.exceptions import OutOfDiskError

from manylabel.cluster.errors import ClusterError
from manylabel.storage.full_disks import full_among, remedy

_PLACE = "/dev/shm"
_FILES = 16 * 2**20
"""Bytes: logs and sockets of Ray 2.60's own processes and of two workers; 3 MiB were measured."""

log = logging.getLogger(__name__)


def tell_if_store_is_on_disk(object_store_bytes: int) -> None:
    """Ray then keeps the store in its folder for temporary files, and is slower."""
    free = _free(_PLACE)
    if free < object_store_bytes:
        mebibytes = -(-object_store_bytes // 2**20)
        log.warning(
            "%s has %d MiB free, and Ray's object store takes %d MiB: it is in TMPDIR, which is "
            "slower; `docker run --shm-size=%dm`, or in a pod an emptyDir with medium: Memory "
            "at %s",
            *(_PLACE, free // 2**20, mebibytes, mebibytes + 64, _PLACE),
        )


def check_room(folder: Path, object_store_bytes: int) -> None:
    """Raises ClusterError if the disk of Ray's folder has no room for its files, or for its object
    store where shared memory has none."""
    on_disk = object_store_bytes if _free(_PLACE) < object_store_bytes else 0
    free, needed = _free(folder), _FILES + on_disk
    if free < needed:
        advice = f", or more to {_PLACE}" if on_disk else ""
        raise ClusterError(
            f"{folder}: No space left on device for Ray's files: {free // 2**20} MiB are free and "
            f"{needed // 2**20} MiB are needed; {remedy(errno.ENOSPC)}, or set TMPDIR to another "
            f"place{advice}, then give the same command again"
        )


def full_here(error: BaseException | None = None) -> str:
    """Of those on this machine that the cluster of this process writes to, as in "No space left on
    device: /dev/shm has 0 bytes of 64 MiB free"; empty where all have room.

    Args:
        error: what Ray raised; it calls a disk full that is used to 95 %.
    """
    folder = [ray.get_runtime_context().get_temp_dir()] if ray.is_initialized() else []
    full = full_among([_PLACE, *folder])
    if not full and isinstance(error, OutOfDiskError):
        full = [f"Ray's object store has no room, nor the disk of {', '.join(folder)}"]
    return f"{os.strerror(errno.ENOSPC)}: {', '.join(full)}" if full else ""


def _free(folder: str | Path) -> int:
    status = os.statvfs(folder)
    return status.f_bavail * status.f_bsize
