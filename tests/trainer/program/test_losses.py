"""What Ray's errors are told as."""

import pickle

import pytest
from ray.exceptions import (
    ActorDiedError,
    ActorUnavailableError,
    ActorUnschedulableError,
    ObjectLostError,
    OutOfDiskError,
    RayActorError,
    RuntimeEnvSetupError,
)

from manylabel.storage.errors import Transient
from manylabel.trainer.errors import LostPartError, TrainingError
from manylabel.trainer.program import losses
from manylabel.trainer.program.losses import lost_head, what_became

NAMES = {"ab12": "shard-1 on 10.0.0.7"}
AGAIN = "run the same command again to go on from the last checkpoint"


def lost_actor(text):
    error = RayActorError("ab12", text)
    return pickle.loads(pickle.dumps(error))


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (lost_actor("The actor died."), "shard-1 on 10.0.0.7 was lost (its process ended)"),
        (
            lost_actor("The actor died because its node has died. Node Id: 7"),
            "shard-1 on 10.0.0.7 was lost (its node is gone)",
        ),
        (
            ActorUnavailableError("no answer", bytes.fromhex("ab12" + 28 * "0")),
            "a parameter shard or the coordinator was lost (it does not answer)",
        ),
        (ActorDiedError(), "a parameter shard or the coordinator was lost (its process ended)"),
        (
            ObjectLostError("ab" * 28, "10.0.0.7", ""),
            "a parameter shard or the coordinator was lost (its node is gone)",
        ),
    ],
)
def test_a_lost_part_is_named_in_one_line_and_another_try_may_do_better(error, expected):
    told = what_became(error, NAMES.get)
    assert isinstance(told, LostPartError)
    assert isinstance(told, Transient)
    assert str(told).startswith(expected)
    assert str(told).endswith(AGAIN)
    assert "\n" not in str(told)


@pytest.mark.parametrize(
    "error",
    [
        ActorUnschedulableError("no node"),
        RuntimeEnvSetupError("no folder"),
        RayActorError("ab12", "ModuleNotFoundError: manylabel", actor_init_failed=True),
    ],
)
def test_what_never_was_is_the_user_s_to_mend(error):
    told = what_became(error, NAMES.get)
    assert type(told) is TrainingError
    assert "could not be created" in str(told)


def test_a_lost_head_is_told_so_that_the_job_is_tried_again():
    told = lost_head("the head, 10.0.0.1:6379, has not answered for 21 s")
    assert isinstance(told, LostPartError)
    assert str(told).startswith(f"the head, 10.0.0.1:6379, has not answered for 21 s; {AGAIN}")


FULL = "No space left on device: /dev/shm has 0 bytes of 64 MiB free"
DIED = "The actor died.\n\tpid: 4157\n\tip: 10.0.0.7\nThe actor is dead because its process died."


@pytest.mark.parametrize("name_of", [NAMES.get, lambda actor: None])
def test_a_part_that_a_full_disk_ended_is_no_reason_to_try_again(monkeypatch, name_of):
    monkeypatch.setattr(losses, "full_here", lambda error=None: FULL)
    monkeypatch.setattr("ray.util.get_node_ip_address", lambda: "10.0.0.7")
    told = what_became(lost_actor(DIED), name_of)
    assert not isinstance(told, Transient)
    assert f" was lost (its process ended; {FULL}); make" in str(told)


@pytest.mark.parametrize(
    ("text", "how"),
    [
        ("The actor died because its node has died.", "its node is gone"),
        (f"{DIED}\nThe actor died because its node has died.", "its node is gone"),
        (DIED, "its process ended"),
        ("The actor died.", "its process ended"),
    ],
)
def test_no_full_disk_of_this_machine_ends_another(monkeypatch, text, how):
    """Nor a process there, or one of which it is not said where it was."""
    monkeypatch.setattr(losses, "full_here", lambda error=None: FULL)
    monkeypatch.setattr("ray.util.get_node_ip_address", lambda: "10.0.0.1")
    told = what_became(lost_actor(text), NAMES.get)
    assert isinstance(told, Transient)
    assert str(told) == f"shard-1 on 10.0.0.7 was lost ({how}); {AGAIN}"


def test_ray_s_word_that_disk_and_store_are_full_is_told():
    told = what_became(OutOfDiskError())
    assert not isinstance(told, Transient)
    assert "No space left on device: Ray's object store has no room" in str(told)
