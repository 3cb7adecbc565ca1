"""Shared memory, in which Ray keeps its object store where there is enough."""

import logging
import os

_PLACE = "/dev/shm"

log = logging.getLogger(__name__)


def tell_if_store_is_on_disk(object_store_bytes: int) -> None:
    """Ray then keeps the store in its folder for temporary files, and is slower."""
    free = _free_shared_memory()
    if free < object_store_bytes:
        mebibytes = -(-object_store_bytes // 2**20)
        log.warning(
            "%s has %d MiB free, and Ray's object store takes %d MiB: it is in TMPDIR, which is "
            "slower; `docker run --shm-size=%dm`, or in a pod an emptyDir with medium: Memory "
            "at %s",
            *(_PLACE, free // 2**20, mebibytes, mebibytes + 64, _PLACE),
        )


def _free_shared_memory() -> int:
    status = os.statvfs(_PLACE)
    return status.f_bavail * status.f_bsize
