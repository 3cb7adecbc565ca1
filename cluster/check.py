"""Finds out what a cluster is: at its door, and by a job that looks at each node."""

import base64
import importlib.metadata
import json
import platform
import secrets
import shlex
import time
import zlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from manylabel.cluster import probe
from manylabel.cluster.errors import ClusterError
from manylabel.cluster.facts import ClusterFacts, NodeFacts, Versions, parse_answer
from manylabel.cluster.jobs_api import JobsApi, Submission
from manylabel.storage.provenance import code_version

JOB_PREFIX = "manylabel-check-"
"""Of the ids of the jobs that look."""

NODE_SECONDS = 20.0
"""For which a node may be silent; it starts a process in one to three seconds, or ten if busy."""

_JOB_SECONDS = 60.0  # for the whole job, on a head that is busy
_POLL_SECONDS = 0.1
_SECONDS_TO_SETTLE = 5.0


def check_cluster(
    api: JobsApi, folders: Sequence[str] = (), read_folders: Sequence[str] = ()
) -> ClusterFacts:
    """Looks at a cluster; 4 s on three idle nodes of this machine.

    The job that looks stays in the cluster's list of jobs until the next look.

    Args:
        folders: that every node must share and write in, by their absolute paths there. One that
            is not there yet is judged by the nearest one above it, in which a job makes it.
        read_folders: that every node must have.

    Raises:
        ClusterError: it cannot be asked.
    """
    start = time.monotonic()
    asks_for_token = api.asks_for_token()
    api.version()  # Whether it is Ray, and takes our token, before a job is tried.
    nodes = _look(api, folders, read_folders)
    return ClusterFacts(
        address=api.address,
        asks_for_token=asks_for_token,
        nodes=nodes,
        here=Versions(
            python=platform.python_version(),
            ray=importlib.metadata.version("ray"),
            package=code_version(),
        ),
        seconds=time.monotonic() - start,
    )


def _look(
    api: JobsApi, folders: Sequence[str], read_folders: Sequence[str]
) -> tuple[NodeFacts, ...]:
    _forget_earlier(api)
    job = f"{JOB_PREFIX}{secrets.token_hex(4)}"
    asked = {"folders": [*folders], "read_folders": [*read_folders], "seconds": NODE_SECONDS}
    api.submit(Submission(submission_id=job, entrypoint=_entrypoint(json.dumps(asked))))
    _await_end(api, job)
    return parse_answer(api.logs(job), api.address)


def _forget_earlier(api: JobsApi) -> None:
    """Takes the looks that are over out of the list of jobs.

    Not each at its end: a job that is forgotten before Ray has seen its process end comes back as a
    failed one. Ray looks every second, and may take two looks.
    """
    latest = (time.time() - _SECONDS_TO_SETTLE) * 1000
    for job in api.jobs():
        name = job.submission_id or ""
        if name.startswith(JOB_PREFIX) and job.end_time is not None and job.end_time < latest:
            with suppress(ClusterError):  # another look was quicker
                api.delete(name)


def _entrypoint(argument: str) -> str:
    """The probe within the command: a file that travels costs a second on each node."""
    packed = base64.b85encode(zlib.compress(Path(probe.__file__).read_bytes(), 9)).decode()
    program = (
        "import sys; sys.path[:] = filter(None, sys.path); "  # nothing of the current folder
        f"import base64, zlib; exec(zlib.decompress(base64.b85decode({packed!r})))"
    )
    return f"exec python -c {shlex.quote(program)} {shlex.quote(argument)}"


def _await_end(api: JobsApi, job: str) -> None:
    deadline = time.monotonic() + _JOB_SECONDS
    while True:
        found = api.job(job)
        if found is None or found.status.is_final:
            return
        if time.monotonic() > deadline:
            with suppress(ClusterError):
                api.stop(job)
            raise ClusterError(
                f"{api.address}: expected the end of a job that looks at the nodes within "
                f"{_JOB_SECONDS:g} s, it is {found.status} ({found.message}); look at `ray status` "
                "on the head"
            )
        time.sleep(_POLL_SECONDS)
