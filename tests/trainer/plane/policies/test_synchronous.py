"""Rounds of synchronous training: who makes an update, who waits, who is too late."""

import itertools

import pytest

from manylabel.trainer.plane.policies.events import (
    Admit,
    Apply,
    Asked,
    Drop,
    Joined,
    Left,
    Pushed,
    Rejected,
    Stopping,
)
from manylabel.trainer.plane.policies.synchronous import SynchronousPolicy
from tests.trainer.plane.policies._simulation import Simulation, uneven

A, B, C = ("a", 0), ("b", 0), ("c", 0)


def started(gradients, workers="abc", version=0):
    policy = SynchronousPolicy(gradients, version=version)
    for worker in workers:
        assert policy.on(Joined(worker)) == []
    for worker in workers:
        assert policy.on(Asked(worker)) == [Admit(worker)]
    return policy


@pytest.mark.parametrize("order", list(itertools.permutations([A, B, C])))
def test_the_last_of_a_round_closes_it_and_those_before_wait(order):
    policy = started(3, version=5)
    place = {A: 0, B: 4, C: 8}
    first, second, third = order
    for update in (first, second):
        assert policy.on(Pushed(update, 5, place[update])) == []
        assert policy.on(Asked(update[0])) == []
    closed = policy.on(Pushed(third, 5, place[third]))
    assert closed == [Apply((A, B, C)), Admit(first[0]), Admit(second[0])], (
        "in their records' order"
    )
    assert policy.on(Asked(third[0])) == [Admit(third[0])]
    assert policy.on(Pushed(("a", 1), 6, 0)) == [], "the next round"


def test_with_backups_the_last_are_too_late_and_go_on_in_the_next_round():
    policy = started(2)
    policy.on(Pushed(A, 0, 0))
    policy.on(Asked("a"))
    assert policy.on(Pushed(B, 0, 4)) == [Apply((A, B)), Admit("a")]
    policy.on(Asked("b"))
    assert policy.on(Pushed(C, 0, 8)) == [Drop(C)]
    assert policy.on(Asked("c")) == [Admit("c")]
    policy.on(Pushed(("c", 1), 1, 8))
    assert policy.on(Pushed(("a", 1), 1, 12)) == [Apply((("c", 1), ("a", 1)))]


def test_a_gradient_that_is_rejected_leaves_the_round_open():
    policy = started(2, "ab")
    policy.on(Pushed(A, 0, 0))
    policy.on(Asked("a"))
    assert policy.on(Rejected(B)) == []
    assert policy.on(Asked("b")) == [Admit("b")], "it takes part with its next"
    assert policy.on(Pushed(("b", 1), 0, 8)) == [Apply((A, ("b", 1))), Admit("a")]


def test_a_round_goes_on_without_a_worker_that_ended():
    policy = started(3)
    policy.on(Pushed(A, 0, 0))
    policy.on(Asked("a"))
    policy.on(Pushed(B, 0, 4))
    policy.on(Asked("b"))
    assert policy.on(Left("c")) == [Apply((A, B)), Admit("a"), Admit("b")]


def test_a_worker_that_ends_takes_its_gradient_along():
    policy = started(3)
    policy.on(Pushed(A, 0, 0))
    policy.on(Asked("a"))
    assert policy.on(Left("a")) == []
    policy.on(Pushed(B, 0, 4))
    assert policy.on(Pushed(C, 0, 8)) == [Apply((B, C))]


def test_a_backup_takes_the_place_of_a_worker_that_ended():
    policy = started(2)
    policy.on(Pushed(A, 0, 0))
    policy.on(Asked("a"))
    assert policy.on(Left("b")) == []
    assert policy.on(Pushed(C, 0, 8)) == [Apply((A, C)), Admit("a")]


@pytest.mark.parametrize("version", [0, 5])
def test_the_first_round_waits_for_every_worker_that_was_started(version):
    policy = started(3, "ab", version)
    policy.on(Joined("c"))
    policy.on(Pushed(A, version, 0))
    assert policy.on(Pushed(B, version, 4)) == []
    assert policy.on(Asked("c")) == [Admit("c")]
    assert policy.on(Pushed(C, version, 8)) == [Apply((A, B, C))]


def test_a_later_round_waits_for_a_worker_only_once_it_asks():
    policy = started(3)
    policy.on(Pushed(A, 0, 0))
    policy.on(Pushed(B, 0, 4))
    policy.on(Left("c"))
    policy.on(Joined("heir"))
    policy.on(Asked("a"))
    policy.on(Asked("b"))
    policy.on(Pushed(("a", 1), 1, 8))
    assert policy.on(Pushed(("b", 1), 1, 12)) == [Apply((("a", 1), ("b", 1)))], (
        "there may be no place for it"
    )
    assert policy.on(Asked("heir")) == [Admit("heir")]
    policy.on(Pushed(("a", 2), 2, 16))
    assert policy.on(Pushed(("b", 2), 2, 20)) == []
    last = Apply((("a", 2), ("b", 2), ("heir", 0)))
    assert policy.on(Pushed(("heir", 0), 2, 24)) == [last]


def test_a_worker_that_a_backup_stood_in_for_is_not_waited_for_before_it_asks():
    policy = started(2, "ab")
    policy.on(Joined("c"))
    policy.on(Pushed(A, 0, 0))
    assert policy.on(Pushed(B, 0, 4)) == [Apply((A, B))]
    policy.on(Left("b"))
    assert policy.on(Pushed(("a", 1), 1, 8)) == [Apply((("a", 1),))]


def test_the_last_rounds_are_of_those_that_still_have_records():
    policy = started(3)
    policy.on(Left("a"))
    policy.on(Left("b"))
    assert policy.on(Pushed(C, 0, 8)) == [Apply((C,))]
    assert policy.on(Left("c")) == []


def test_being_stopped_gives_up_the_open_round_and_whatever_comes_after():
    policy = started(3)
    policy.on(Pushed(A, 0, 0))
    policy.on(Pushed(B, 0, 4))
    assert policy.on(Stopping()) == [Drop(A), Drop(B)]
    assert policy.on(Pushed(C, 0, 8)) == [Drop(C)]
    assert policy.on(Left("a")) == []


@pytest.mark.parametrize(("gradients", "workers"), [(5, "abcde"), (4, "abcde"), (3, "abcdef")])
@pytest.mark.parametrize("seed", range(4))
def test_at_any_speeds_each_update_is_of_as_many_gradients_of_its_own_version(
    gradients, workers, seed
):
    simulation = Simulation(SynchronousPolicy(gradients), uneven(seed))
    simulation.start(list(workers))
    simulation.run(400)
    assert set(simulation.parts) == {gradients}
    assert set(simulation.staleness) == {0}
    assert (simulation.dropped > 0) == (gradients < len(workers))
    pending = 400 - simulation.dropped - sum(simulation.parts)
    assert 0 <= pending < gradients


def test_backups_make_rounds_shorter_where_one_worker_is_slow():
    versions = {}
    for gradients in (5, 4):
        policy = SynchronousPolicy(gradients)
        simulation = Simulation(policy, lambda worker: 20.0 if worker == "e" else 1.0)
        simulation.start(list("abcde"))
        simulation.run(200)
        versions[gradients] = simulation.version / simulation._now
    assert versions[4] > 10 * versions[5]
