"""The folder and the token of a Ray cluster on this machine: for its user alone, for one run.

Ray's own places are open. The folder /tmp/ray belongs to whoever came first, everyone may write to
it, and two clusters that start in it at once fail. The file ~/.ray/auth_token can be read by all,
needs a home that can be written, and switches authentication on for each later `ray start`.
"""

import fcntl
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from ray._private.authentication.authentication_token_setup import AuthenticationTokenLoader

from manylabel.cluster.errors import ClusterError
from manylabel.storage.errors import reason_of
from manylabel.storage.full_disks import writing

_PREFIX = "manylabel-ray-"
_LOCK = "lock"
# The path of a socket is limited to 107 bytes, of which Ray takes up to 64 below its folder
# ("/session_", date, time and process id, "/sockets/plasma_store") and ours has 27.
_LONGEST_PARENT = 16
# The same where RAY_TMPDIR names the folder, below which Ray makes "/ray" first.
LONGEST_FOLDER = 107 - len("/ray") - 64
# Between the making of a folder and its locking; generous.
_SECONDS_TO_LOCK = 60

_FOLDER_VARIABLE = "RAY_TMPDIR"
_TOKEN_VARIABLE = "RAY_AUTH_TOKEN"
_TOKEN_PATH_VARIABLE = "RAY_AUTH_TOKEN_PATH"


@contextmanager
def private_ray_files() -> Iterator[dict[str, str]]:
    """Makes both, and has the cluster that is started meanwhile use the token.

    What the user has chosen wins: a folder by RAY_TMPDIR, a token by RAY_AUTH_TOKEN or
    RAY_AUTH_TOKEN_PATH.

    Yields:
        The arguments of ray.init that name the folder; none leave it to RAY_TMPDIR.

    Raises:
        ClusterError: there is no place for them.
    """
    try:
        parent = _parent()
        _remove_abandoned(parent)
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))  # its mode is 0700
    except OSError as error:
        raise ClusterError(
            f"Ray needs a folder for temporary files, received: {reason_of(error)}; set "
            f"TMPDIR to one of at most {_LONGEST_PARENT} bytes"
        ) from error
    with (folder / _LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with _own_token(folder / "token"):
            # A folder in it, because Ray opens the one that it is given to all.
            yield {} if _FOLDER_VARIABLE in os.environ else {"_temp_dir": str(folder / "ray")}
        # Not after a failure: Ray's logs, which are in it, may say why. The next run removes it.
        shutil.rmtree(folder, ignore_errors=True)


def folder_of(arguments: Mapping[str, str]) -> Path:
    """Where Ray's files go, by what `private_ray_files` yielded: what is there of it already."""
    folder = Path(arguments.get("_temp_dir") or os.environ[_FOLDER_VARIABLE])
    while not folder.exists():
        folder = folder.parent
    return folder


def _parent() -> Path:
    parent = Path(tempfile.gettempdir())
    return parent if len(os.fsencode(parent)) <= _LONGEST_PARENT else Path("/tmp")


def _remove_abandoned(parent: Path) -> None:
    """Removes the folders of this user's runs that were killed or failed."""
    for folder in parent.glob(f"{_PREFIX}*"):
        with suppress(OSError):  # another run removed it, or holds its lock
            status = folder.lstat()
            if status.st_uid != os.geteuid() or time.time() - status.st_mtime < _SECONDS_TO_LOCK:
                continue
            with (folder / _LOCK).open() as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _own_token(path: Path) -> Iterator[None]:
    if _TOKEN_VARIABLE in os.environ or _TOKEN_PATH_VARIABLE in os.environ:
        yield
        return
    with writing(path):
        path.touch(mode=0o600)
        path.write_text(secrets.token_hex(32))
    os.environ[_TOKEN_PATH_VARIABLE] = str(path)
    # Ray keeps the token that it read first for as long as the process lives.
    AuthenticationTokenLoader.instance().reset_cache()
    try:
        yield
    finally:
        del os.environ[_TOKEN_PATH_VARIABLE]
        AuthenticationTokenLoader.instance().reset_cache()
