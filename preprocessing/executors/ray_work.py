"""The task on a node of a Ray cluster: a batch of items, and where it was done."""

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import ray

from manylabel.preprocessing.executors.outcomes import attempt_each
from manylabel.preprocessing.executors.sight import Sight
from manylabel.storage.jobs import log_to
from manylabel.storage.stacks import show_stacks_on_signal


@dataclass(frozen=True)
class Unseen:
    """In place of outcomes: why this node cannot do the work."""

    problem: str


class Answer(NamedTuple):
    """Of a batch.

    Attributes:
        node: its address.
        outcomes: of each item, as `attempt` gives it.
    """

    node: str
    outcomes: list[bytes] | Unseen


def run(
    function: Callable[[Any], Any], items: list[Any], sight: Sight | None, logs: Path | None
) -> Answer:
    """The task."""
    _show_stacks_once()
    node = ray.util.get_node_ip_address()
    if sight is not None and (problem := _missing_once(sight)):
        return Answer(node, Unseen(problem))
    if logs is not None:  # only now: where the dataset is not seen, they would be on the local disk
        _log_once(logs, node)
    return Answer(node, list(attempt_each(function, items)))


@cache
def _show_stacks_once() -> None:
    show_stacks_on_signal()


@cache
def _log_once(logs: Path, node: str) -> None:
    with suppress(OSError):  # then Ray's own files have it
        log_to(logs, f"worker-{node}-{os.getpid()}")
        print(f"process {os.getpid()} on node {node} is at work", flush=True)


@cache
def _missing_once(sight: Sight) -> str | None:
    """In each process once: nodes may come while the job runs."""
    return sight.missing()
