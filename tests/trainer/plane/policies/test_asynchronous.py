"""Asynchronous updates: what is applied, who waits, and what is never too stale."""

import pytest

from manylabel.trainer.plane.policies.asynchronous import AsynchronousPolicy
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
from tests.trainer.plane.policies._simulation import Simulation, uneven

WORKERS = ["a", "b", "c", "d", "e"]


def test_without_a_bound_everything_is_applied_and_nobody_waits():
    policy = AsynchronousPolicy(version=7)
    assert policy.on(Joined("a")) == []
    assert policy.on(Asked("a")) == [Admit("a")]
    assert policy.on(Asked("b")) == [Admit("b")]
    for number in range(20):
        assert policy.on(Pushed(("a", number), 7 + number, 0)) == [Apply((("a", number),))]
        assert policy.on(Asked("a")) == [Admit("a")]
    assert policy.on(Pushed(("b", 0), 7, 0)) == [Apply((("b", 0),))]
    assert policy.on(Rejected(("b", 1))) == []
    assert policy.on(Left("b")) == []
    assert policy.on(Stopping()) == []
    assert policy.on(Pushed(("a", 20), 27, 0)) == [Apply((("a", 20),))], "it was under way"


def test_what_is_beyond_the_bound_is_dropped_and_its_worker_goes_on():
    policy = AsynchronousPolicy(drop_above=1)
    for worker in "abc":
        policy.on(Asked(worker))
    assert policy.on(Pushed(("a", 0), 0, 0)) == [Apply((("a", 0),))]
    assert policy.on(Pushed(("b", 0), 0, 4)) == [Apply((("b", 0),))], "of staleness 1"
    assert policy.on(Pushed(("c", 0), 0, 8)) == [Drop(("c", 0))], "of staleness 2"
    assert policy.on(Asked("c")) == [Admit("c")]
    assert policy.on(Pushed(("c", 1), 2, 8)) == [Apply((("c", 1),))], (
        "what was dropped is no update"
    )


def test_a_bound_of_0_lets_one_work_at_a_time_in_the_order_they_asked():
    policy = AsynchronousPolicy(wait_at=0)
    assert policy.on(Asked("a")) == [Admit("a")]
    assert policy.on(Asked("b")) == []
    assert policy.on(Asked("c")) == []
    assert policy.on(Pushed(("a", 0), 0, 0)) == [Apply((("a", 0),)), Admit("b")]
    assert policy.on(Asked("a")) == []
    assert policy.on(Pushed(("b", 0), 1, 0)) == [Apply((("b", 0),)), Admit("c")]
    assert policy.on(Rejected(("c", 0))) == [Admit("a")]


@pytest.mark.parametrize("state", ["under way", "waiting"])
def test_a_worker_that_ends_holds_nobody_up(state):
    policy = AsynchronousPolicy(wait_at=0)
    policy.on(Asked("a"))
    policy.on(Asked("b"))
    policy.on(Asked("c"))
    if state == "under way":
        assert policy.on(Left("a")) == [Admit("b")]
    else:
        assert policy.on(Left("b")) == []
        assert policy.on(Pushed(("a", 0), 0, 0))[1:] == [Admit("c")]


@pytest.mark.parametrize("bound", [0, 1, 2, 4, 7, 8, 30])
@pytest.mark.parametrize("seed", range(5))
def test_waiting_keeps_the_bound_at_any_speeds_and_drops_nothing(bound, seed):
    simulation = Simulation(AsynchronousPolicy(wait_at=bound), uneven(seed))
    simulation.start(WORKERS)
    simulation.run(400)
    simulation.kill("a")
    simulation.run(400)
    assert simulation.dropped == 0
    assert simulation.version == 800
    assert max(simulation.staleness) == bound if bound < 8 else max(simulation.staleness) <= bound


@pytest.mark.parametrize("seed", range(3))
def test_without_a_bound_the_same_speeds_give_stale_gradients(seed):
    simulation = Simulation(AsynchronousPolicy(), uneven(seed))
    simulation.start(WORKERS)
    simulation.run(800)
    assert max(simulation.staleness) > 8
    assert (simulation.waits, simulation.dropped) == (0, 0)


@pytest.mark.parametrize("bound", [0, 1, 3])
def test_dropping_keeps_the_bound_and_always_gets_on(bound):
    simulation = Simulation(AsynchronousPolicy(drop_above=bound), uneven(1))
    simulation.start(WORKERS)
    simulation.run(800)
    assert max(simulation.staleness) == bound
    assert simulation.dropped > 0
    assert simulation.waits == 0
    assert simulation.version == 800 - simulation.dropped


def test_workers_of_equal_speed_wait_below_twice_their_others_only():
    waits = {}
    for bound in (2 * (len(WORKERS) - 1), 2 * (len(WORKERS) - 1) - 1):
        simulation = Simulation(AsynchronousPolicy(wait_at=bound), lambda worker: 1.0)
        simulation.start(WORKERS)
        simulation.run(200)
        waits[bound] = simulation.waits
    assert waits[8] == 0
    assert waits[7] > 0
