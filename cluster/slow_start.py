"""Time for Ray to start on a machine that is busy with other things."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ray._private import services

from manylabel.cluster.errors import BusyMachineError, ClusterError

# With two cores that others keep busy, Ray took 32 s.
_SECONDS = 180.0
_SECONDS_BETWEEN_LOOKS = 0.5
# A raylet ends when the processes of its agents are not there after 15 s, which no setting changes
# (Ray 2.60; nine starts at once on one core). What it cannot mend ends it sooner.
_SECONDS_FOR_AGENTS = 10.0
_VARIABLE = "RAY_gcs_server_port_wait_time_s"


@contextmanager
def time_to_start() -> Iterator[None]:
    """Ray that is started meanwhile gets three minutes instead of half of one.

    Its 30 s for the node are a constant within a function (Ray 2.60, _private/node.py); so the
    question that it asks until then is answered late. It has a setting for those of the head.

    Raises:
        ClusterError: from within Ray's start; the node ended. BusyMachineError if it did not come
            in that time, or waited for its agents in vain.
    """
    ask, setting = services.get_node, os.environ.get(_VARIABLE)

    def ask_patiently(gcs_address: str, node_id: str) -> Any:
        began = time.monotonic()
        while True:
            try:
                return ask(gcs_address, node_id)
            except RuntimeError as error:  # it is not there yet
                seconds = time.monotonic() - began
                if _node_ended():
                    if seconds > _SECONDS_FOR_AGENTS:
                        raise BusyMachineError("its raylet timed out over its agents") from error
                    raise ClusterError("its raylet ended at once") from error
                if seconds > _SECONDS:
                    raise BusyMachineError(f"its raylet timed out after {_SECONDS:g} s") from error
            time.sleep(_SECONDS_BETWEEN_LOOKS)

    services.get_node = ask_patiently
    os.environ.setdefault(_VARIABLE, f"{_SECONDS:.0f}")
    try:
        yield
    finally:
        services.get_node = ask
        if setting is None:
            del os.environ[_VARIABLE]


def _node_ended() -> bool:
    """Whether a raylet that this process started has ended."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # another process that ended meanwhile
            name, _, rest = stat.read_text().rpartition(")")
            state, parent = rest.split()[:2]
            if (state, int(parent)) == ("Z", os.getpid()) and name.endswith("(raylet"):
                return True
    return False
