"""What a look at a Ray cluster found: who may run code there, what each node is and sees."""

import json
from typing import Any

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from manylabel.cluster.errors import ClusterError
from manylabel.cluster.probe import MARKER


class _Facts(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Package(_Facts):
    """This package where programs find it. Version: as `code_version` says it."""

    version: str
    location: str


class FolderFacts(_Facts):
    """A folder as a node sees it.

    Attributes:
        exists: itself, or one above it other than the root, in which a job would make it.
        problem: why it cannot be written, or read if that is all that is asked; None: it can.
        same: whether it holds what the head's node has just written; None: it wrote nothing.
    """

    path: str
    exists: bool
    problem: str | None
    same: bool | None


class Resources(_Facts):
    """Of a node: what Ray gives to tasks and actors."""

    cpus: float = 0.0
    gpus: float = 0.0
    memory_bytes: int = 0
    object_store_bytes: int = 0


class Seen(_Facts):
    """What a node tells of itself.

    Attributes:
        python, ray: versions, as 3.11.7 and 2.60.0.
        package: this one; None where there is none.
        agent: HTTP status by which its agent answers to one without a token; None: it does not.
        shared_memory_bytes: size of /dev/shm; None where there is none.
        open_files: that a process may have.
    """

    python: str
    ray: str | None
    package: Package | None
    agent: int | None
    agent_port: int
    shared_memory_bytes: int | None
    open_files: int
    folders: tuple[FolderFacts, ...] = ()

    @property
    def agent_is_open(self) -> bool:
        """Whether its agent, which starts jobs, answers to anyone."""
        return self.agent is not None and self.agent not in (401, 403)


class NodeFacts(_Facts):
    """A node that Ray counts as alive.

    Attributes:
        total, free: resources; free is without what jobs hold.
        seen: None where the node did not answer, or badly: `problem` says how.
    """

    address: str
    total: Resources
    free: Resources
    seen: Seen | None = None
    problem: str | None = None


class Versions(_Facts):
    """Of the machine that asks."""

    python: str
    ray: str
    package: str


class ClusterFacts(_Facts):
    """What was found.

    Attributes:
        asks_for_token: whether the head refuses who brings none.
        nodes: by address; the head's node is one of them.
        here: what this machine has, to be compared.
        seconds: that it took to find out.
    """

    address: str
    asks_for_token: bool
    nodes: tuple[NodeFacts, ...]
    here: Versions
    seconds: float


def parse_answer(printed: str, address: str) -> tuple[NodeFacts, ...]:
    """Of what the probe's job printed.

    Raises:
        ClusterError: the answer is not among it.
    """
    lines = printed.splitlines()
    answers = [line.removeprefix(MARKER) for line in lines if line.startswith(MARKER)]
    try:
        nodes = [_with_resources(node) for node in json.loads(answers[-1])]
        found = TypeAdapter(tuple[NodeFacts, ...]).validate_python(nodes)
    except (IndexError, ValueError, ValidationError, TypeError, AttributeError) as error:
        last = next((line.strip() for line in reversed(lines) if line.strip()), "nothing")
        raise ClusterError(
            f"{address}: expected what its nodes are, received {last[:300]}; a node's `python` "
            "must be the one that Ray is installed for"
        ) from error
    return tuple(sorted(found, key=lambda node: _in_order(node.address)))


def _with_resources(node: dict[str, Any]) -> dict[str, Any]:
    """By our names, for Ray's."""
    named = {
        key: {
            "cpus": node[key].get("CPU", 0.0),
            "gpus": node[key].get("GPU", 0.0),
            "memory_bytes": int(node[key].get("memory", 0)),
            "object_store_bytes": int(node[key].get("object_store_memory", 0)),
        }
        for key in ("total", "free")
    }
    return {**node, **named}


def _in_order(address: str) -> list[tuple[int, str]]:
    """10.0.0.9 before 10.0.0.10."""
    return [(len(part), part) for part in address.split(".")]
