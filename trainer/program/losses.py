"""What a Ray error means to a training job: a part that was lost, or one that never was."""

import errno
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import (
    ActorUnavailableError,
    ActorUnschedulableError,
    GetTimeoutError,
    NodeDiedError,
    ObjectLostError,
    RayActorError,
    RayError,
    RayTaskError,
    RuntimeEnvSetupError,
)

from manylabel.cluster.shared_memory import full_here
from manylabel.storage.errors import described
from manylabel.storage.full_disks import remedy
from manylabel.trainer.errors import LostPartError, TrainingError

AGAIN = "run the same command again to go on from the last checkpoint"

# Ray's id of an actor -> the part that it is, as in "shard-0 on 10.0.0.7"; None if it is unknown.
NameOf = Callable[[str], str | None]

_ADDRESS = re.compile(r"^\s*ip: (\S+)$", re.MULTILINE)
"""Of the machine of an actor that died, among the lines that Ray tells of it."""


@dataclass(frozen=True)
class WorkerEnd:
    """A worker that stopped.

    Attributes:
        death: why it died; None if it had nothing left to do.
        error: the exception it died of; None if its process was lost.
    """

    worker: str
    death: str | None
    error: Exception | None = None


def lost_head(what: str) -> LostPartError:
    """The error of a head that has been silent for long."""
    return LostPartError(f"{what}; {AGAIN} once it, or another cluster, is there")


def unanswered(part: str, seconds: float) -> LostPartError:
    """The error of a part that has not answered for long."""
    return LostPartError(
        f"{part} has not answered for {seconds:g} s: it hangs, or has had no room to start; {AGAIN}"
    )


def _unknown(actor: str) -> None:
    return None


def plain_answer(answers: Any, name_of: NameOf = _unknown, timeout: float | None = None) -> Any:
    """ray.get, with the exception of the method called instead of Ray's wrapping of it.

    Raises:
        LostPartError: of the actor, or of one that it needed.
        TrainingError: the actor could not be created.
        GetTimeoutError: there is no answer within `timeout` seconds.
    """
    try:
        return ray.get(answers, timeout=timeout)
    except RayTaskError as error:
        if isinstance(error.cause, RayError):
            raise what_became(error.cause, name_of) from error
        raise error.cause from None
    except GetTimeoutError:
        raise
    except RayError as error:
        raise what_became(error, name_of) from error


def how_it_ended(
    worker: str, run: Any, name_of: NameOf = _unknown, logs: Path | None = None
) -> WorkerEnd:
    """What ended a worker's run, which is over.

    Args:
        logs: where to look for what a process said that was lost.

    Raises:
        LostPartError: the worker met the loss of a shard or of the coordinator.
    """
    try:
        ray.get(run)
    except RayTaskError as error:
        if isinstance(error.cause, LostPartError):
            raise error.cause from None
        if isinstance(error.cause, RayError):
            raise what_became(error.cause, name_of) from error
        return WorkerEnd(worker, described(error.cause), error.cause)
    except RayError as error:
        if _never_was(error):
            never_was = what_became(error, name_of)
            return WorkerEnd(worker, str(never_was), never_was)
        # Its process or its node is gone.
        place = f"logs: {logs}" if logs else ""
        return WorkerEnd(worker, _joined(_what_ended(error), _full_disk(error), place))
    return WorkerEnd(worker, None)


def what_became(error: RayError, name_of: NameOf = _unknown) -> TrainingError:
    """What to tell of an actor that does not answer: a lost one can be had again."""
    if _never_was(error):
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        reason = lines[-1] if lines else type(error).__name__
        return TrainingError(
            f"a process of the program could not be created ({reason}); every node needs the "
            "same manylabel, Python and Ray as this machine, installed or on its PYTHONPATH"
        )
    part = name_of(getattr(error, "actor_id", None) or "")
    how, full = _what_ended(error), _full_disk(error)
    lost = f"{part or 'a parameter shard or the coordinator'} was lost ({_joined(how, full)})"
    if full:
        return TrainingError(f"{lost}; {remedy(errno.ENOSPC)}, then {AGAIN}")
    return LostPartError(f"{lost}; {AGAIN}")


def _joined(*parts: str) -> str:
    return "; ".join(filter(None, parts))


def _full_disk(error: RayError) -> str:
    """Of this machine, that may have ended it; no disk of ours ends another node, or a process
    there."""
    return "" if _node_is_gone(error) or _is_elsewhere(error) else full_here(error)


def _is_elsewhere(error: RayError) -> bool:
    """Whether it is of an actor that Ray does not say to have died on this machine; it says so as
    well to the coordinator, which knows no actor's node."""
    if not isinstance(error, RayActorError):
        return False
    address = _ADDRESS.search(str(error))
    return address is None or address[1] != ray.util.get_node_ip_address()


def _node_is_gone(error: RayError) -> bool:
    text = str(error)
    return (
        isinstance(error, NodeDiedError | ObjectLostError)
        or "node has died" in text
        or "node was terminated" in text
    )


def _what_ended(error: RayError) -> str:
    if _node_is_gone(error):
        return "its node is gone"
    if isinstance(error, ActorUnavailableError):
        return "it does not answer"
    if isinstance(error, RayActorError):
        return "its process ended"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def _never_was(error: RayError) -> bool:
    return isinstance(error, ActorUnschedulableError | RuntimeEnvSetupError) or (
        isinstance(error, RayActorError) and error.actor_init_failed
    )
