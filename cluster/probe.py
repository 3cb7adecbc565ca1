"""Looks at every node of a Ray cluster from inside it, and prints what it saw.

It travels to the cluster as text and runs there with any Python from 3.9 on, Ray, and nothing else:
whether this package is there is one of its questions.
"""

from __future__ import annotations

import contextlib
import http.client
import importlib.metadata
import importlib.util
import json
import os
import platform
import resource
import secrets
import sys
from typing import Any

MARKER = "manylabel-probe "
"""Begins the line that holds the answer, in JSON."""

_TRIAL = ".manylabel-check-"
_AGENT_PORT = 52365  # Ray's default
_AGENT_SECONDS = 2.0
_AGENT_KEY = "DASHBOARD_AGENT_ADDR_NODE_ID_PREFIX:"
_AGENT_NAMESPACE = b"dashboard"


def look_at_all(
    folders: list[str], read_folders: list[str], seconds: float
) -> list[dict[str, Any]]:
    """Runs `look` on every node of the cluster that this process has joined.

    Args:
        folders: that every node must see and write in; read_folders: read in.
        seconds: for which a node may be silent. It is named then, and nothing else is known of it.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    nodes = [node for node in ray.nodes() if node["Alive"]]
    free = _free_resources()
    remote_look = ray.remote(num_cpus=0, max_retries=0)(look)
    trials = {folder: begin_trial(folder) for folder in folders}
    try:
        answers = {
            node["NodeID"]: remote_look.options(
                name="manylabel cluster check",
                scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False),
            ).remote(node["NodeManagerAddress"], _agent_port(node["NodeID"]), trials, read_folders)
            for node in nodes
        }
        done, _ = ray.wait(list(answers.values()), num_returns=len(answers), timeout=seconds)
        return [
            {
                "address": node["NodeManagerAddress"],
                "total": node["Resources"],
                "free": free.get(node["NodeID"], node["Resources"]),
                **_answer(answers[node["NodeID"]], done, seconds),
            }
            for node in nodes
        ]
    finally:
        for trial in trials.values():
            end_trial(trial)


def look(
    address: str, agent_port: int, trials: dict[str, dict[str, str]], read_folders: list[str]
) -> dict[str, Any]:
    """What can be seen on the node that this runs on."""
    return {
        "seen": {
            "python": platform.python_version(),
            "ray": _version("ray"),
            "package": _package(),
            "agent": ask_agent(address, agent_port),
            "agent_port": agent_port,
            "shared_memory_bytes": _size("/dev/shm"),
            "open_files": resource.getrlimit(resource.RLIMIT_NOFILE)[0],
            "folders": [
                *(see_trial(folder, trial) for folder, trial in trials.items()),
                *(_see_readable(folder) for folder in read_folders),
            ],
        }
    }


def begin_trial(folder: str) -> dict[str, str]:
    """Writes a file of random content into a folder, which all nodes that share it then see.

    A folder that is not there yet is tried by the nearest one above it, in which a job makes it.

    Returns:
        Where it is and what it holds; the content is empty when it could not be written.
    """
    place = folder
    while not os.path.isdir(place) and os.path.dirname(place.rstrip("/")) not in ("", "/"):
        place = os.path.dirname(place.rstrip("/"))  # Not the root: nobody shares that.
    path = os.path.join(place, _TRIAL + secrets.token_hex(8))
    content = secrets.token_hex(16)
    try:
        with open(path, "x") as file:
            file.write(content)
    except OSError:
        content = ""
    return {"path": path, "content": content}


def see_trial(folder: str, trial: dict[str, str]) -> dict[str, Any]:
    """Whether this node sees the file, and may write one beside it."""
    place = os.path.dirname(trial["path"])
    own = f"{trial['path']}-{secrets.token_hex(8)}"
    problem = None
    try:
        with open(own, "x"):
            pass
        os.remove(own)
    except OSError as error:
        problem = error.strerror
    same = None
    if trial["content"]:
        try:
            with open(trial["path"]) as file:
                same = file.read() == trial["content"]
        except OSError:
            same = False
    return {"path": folder, "exists": os.path.isdir(place), "problem": problem, "same": same}


def end_trial(trial: dict[str, str]) -> None:
    """Removes the file."""
    if trial["content"]:
        with contextlib.suppress(OSError):
            os.remove(trial["path"])


def ask_agent(address: str, port: int) -> int | None:
    """The status by which a node's agent answers to one who brings no token; None: no answer.

    To ask for a list that there is not does nothing where the door is open (405), and nothing where
    it is closed (401): tokens are looked at first. A POST there would run a command.
    """
    connection = http.client.HTTPConnection(address, port, timeout=_AGENT_SECONDS)  # by no proxy
    try:
        connection.request("GET", "/api/job_agent/jobs/")
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def _answer(reference: Any, done: list[Any], seconds: float) -> dict[str, Any]:
    import ray

    if reference not in done:
        return {"problem": f"no answer within {seconds:g} s"}
    try:
        found: dict[str, Any] = ray.get(reference)
        return found
    except Exception as error:  # whatever Ray says of a node that it could not use
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        return {"problem": (lines or [type(error).__name__])[-1][:300]}


def _see_readable(folder: str) -> dict[str, Any]:
    readable = os.access(folder, os.R_OK | (os.X_OK if os.path.isdir(folder) else 0))
    problem = None if readable else "cannot be read"
    return {"path": folder, "exists": os.path.exists(folder), "problem": problem, "same": None}


def _package() -> dict[str, str] | None:
    """This package, as a program on the node would import it; None: it is not there."""
    try:
        found = importlib.util.find_spec("manylabel")
    except (ImportError, ValueError):
        return None
    if found is None:
        return None
    places = [*(found.submodule_search_locations or []), "?"]
    try:
        from manylabel.storage.provenance import code_version

        version = code_version()
    except Exception:  # it is another package of that name, or of a time before that function
        version = _version("manylabel") or "unknown"
    return {"version": version, "location": str(places[0])}


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _size(folder: str) -> int | None:
    try:
        found = os.statvfs(folder)
    except OSError:
        return None
    return found.f_blocks * found.f_frsize


def _free_resources() -> dict[str, dict[str, float]]:
    """By node; empty where this version of Ray does not say it."""
    try:
        from ray._private.state import available_resources_per_node

        found: dict[str, dict[str, float]] = available_resources_per_node()
        return found
    except Exception:
        return {}


def _agent_port(node: str) -> int:
    try:
        from ray.experimental.internal_kv import _internal_kv_get

        told = _internal_kv_get(f"{_AGENT_KEY}{node}".encode(), namespace=_AGENT_NAMESPACE)
        return int(json.loads(told)[1])
    except Exception:
        return _AGENT_PORT


def main() -> None:
    """Entry point on the cluster; its argument is what to ask, in JSON."""
    import ray
    from ray.job_config import JobConfig

    class InstalledCode(JobConfig):
        """Nodes import what is installed there: Ray would put this process's folder before it."""

        def _runtime_env_has_working_dir(self) -> bool:
            return True

    asked = json.loads(sys.argv[1])
    ray.init("auto", job_config=InstalledCode(), log_to_driver=False, logging_level="ERROR")
    nodes = look_at_all(asked["folders"], asked["read_folders"], asked["seconds"])
    print(MARKER + json.dumps(nodes), flush=True)
    os._exit(0)  # Ray's farewell takes longer than all of it.


if __name__ == "__main__":
    main()
