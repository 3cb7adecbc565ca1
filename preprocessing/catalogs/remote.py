"""Listing folders of storage that fsspec reaches."""

import errno
from typing import Any

from manylabel.storage.errors import described


def list_remote(storage: Any, path: str) -> list[dict[str, Any]]:
    """What is in a folder now: its `name`, with the folder's, and `type` at least.

    Listings that the storage keeps would be those of the whole tree, and those of before.

    Raises:
        OSError: there is no such folder, or the storage failed; names the folder.
    """
    try:
        storage.invalidate_cache(path)
        entries: list[dict[str, Any]] = storage.ls(path, detail=True)
        storage.invalidate_cache(path)
    except OSError as error:
        reason = error.strerror or str(error) or type(error).__name__
        raise OSError(error.errno or errno.EIO, reason, path) from error
    except Exception as error:  # Each kind of storage has its own.
        raise OSError(errno.EIO, described(error), path) from error
    return entries
