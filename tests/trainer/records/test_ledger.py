"""Whatever happens to workers, every position of the run is settled exactly once."""

import tracemalloc

import numpy as np
import pytest

from manylabel.trainer.records.ledger import LedgerError, LedgerState, RecordLedger, Settlement

TOTAL, LEASE = 70, 9


def positions(*values):
    return np.asarray(values, np.int64)


def drain(ledger):
    """Settles everything that is left; the positions, with repetitions if there are any."""
    settled = []
    while (lease := ledger.lease("last")) is not None:
        span = np.arange(*lease)
        ledger.settle("last", span, Settlement.APPLIED)
        settled.extend(span.tolist())
    return settled


class Simulation:
    """Random workers that lease, settle, name bad records and die, beside a model of plain sets."""

    def __init__(self, seed):
        self.random = np.random.default_rng(seed)
        self.ledger = RecordLedger(TOTAL, LEASE)
        self.leased = {}  # worker -> set of positions
        self.settled = {}  # position -> Settlement
        self.born = 0

    def step(self):
        """One random event; the positions and the worker that a zombie would name, if any."""
        choice = self.random.random()
        if not self.leased or choice < 0.1:
            self.leased[f"worker-{self.born}"] = set()
            self.born += 1
            return None
        worker = str(self.random.choice(sorted(self.leased)))
        if choice < 0.4:
            lease = self.ledger.lease(worker)
            if lease is not None:
                span = set(range(*lease))
                assert 0 < len(span) <= LEASE
                assert not span & self._out()
                assert not span & set(self.settled)
                self.leased[worker] |= span
            return None
        if choice < 0.9:
            return self._settle(worker)
        lost = self.leased.pop(worker)
        assert self.ledger.take_back(worker) == len(lost)
        return worker, lost

    def check(self):
        ledger = self.ledger
        for how in Settlement:
            assert ledger.settled(how) == list(self.settled.values()).count(how)
        assert ledger.finished == (len(self.settled) == TOTAL)
        assert ledger.has_work == bool(set(range(TOTAL)) - set(self.settled) - self._out())
        start, stop = sorted(self.random.integers(0, TOTAL + 10, 2).tolist())
        assert ledger.settled_within(start, stop) == len(
            set(range(start, stop)) & set(self.settled)
        )

    def check_restart(self):
        """A ledger restored from here deals exactly what is not settled, each position once."""
        state = LedgerState.model_validate_json(self.ledger.state().model_dump_json())
        restored = RecordLedger.restore(state, TOTAL, LEASE)
        for how in Settlement:
            assert restored.settled(how) == self.ledger.settled(how)
        assert sorted([*drain(restored), *self.settled]) == list(range(TOTAL))
        assert restored.finished

    def _settle(self, worker):
        own = sorted(self.leased[worker])
        size = int(self.random.integers(0, len(own) + 1))
        batch = self.random.permutation(own)[:size].astype(np.int64)
        how = self.random.choice(list(Settlement))
        assert self.ledger.holds(worker, batch)
        self.ledger.settle(worker, batch, how)
        self.leased[worker] -= set(batch.tolist())
        self.settled |= dict.fromkeys(batch.tolist(), how)
        return worker, set(batch.tolist())

    def _out(self):
        return set().union(*self.leased.values())


@pytest.mark.parametrize("seed", range(25))
def test_each_position_is_settled_exactly_once_through_deaths_and_restarts(seed):
    simulation = Simulation(seed)
    for _ in range(150):
        done = simulation.step()
        if done is not None and done[1]:  # settled before, or taken back: not this worker's now
            worker, named = done
            before = simulation.ledger.state()
            with pytest.raises(LedgerError, match=worker):
                simulation.ledger.settle(worker, positions(*named), Settlement.APPLIED)
            assert simulation.ledger.state() == before
        simulation.check()
        simulation.check_restart()
    assert simulation.settled


def test_what_a_dead_worker_held_is_dealt_before_new_positions():
    ledger = RecordLedger(20, 5)
    assert ledger.lease("a") == (0, 5)
    assert ledger.lease("b") == (5, 10)
    ledger.settle("a", positions(1, 3), Settlement.APPLIED)
    assert ledger.take_back("a") == 3
    assert [ledger.lease("c") for _ in range(4)] == [(0, 1), (2, 3), (4, 5), (10, 15)]


def test_a_worker_cannot_settle_what_another_one_holds_now():
    ledger = RecordLedger(5, 5)
    ledger.lease("zombie")
    ledger.take_back("zombie")
    ledger.lease("heir")
    with pytest.raises(LedgerError, match=r"zombie.*\[\(0, 2\)\].*holds \[\]"):
        ledger.settle("zombie", positions(0, 1), Settlement.APPLIED)
    ledger.settle("heir", positions(0, 1, 2, 3, 4), Settlement.APPLIED)
    assert ledger.finished


def test_a_position_named_twice_in_a_batch_is_refused_as_a_whole():
    ledger = RecordLedger(5, 5)
    ledger.lease("a")
    with pytest.raises(LedgerError):
        ledger.settle("a", positions(0, 1, 1), Settlement.APPLIED)
    assert ledger.settled(Settlement.APPLIED) == 0
    assert ledger.holds("a", positions(0, 1))


def test_a_run_of_no_records_is_finished():
    ledger = RecordLedger(0, 5)
    assert ledger.finished
    assert not ledger.has_work
    assert ledger.lease("a") is None


def test_a_resumed_run_may_be_longer():
    ledger = RecordLedger(10, 4)
    ledger.lease("a")
    ledger.settle("a", positions(0, 1, 3), Settlement.APPLIED)
    longer = RecordLedger.restore(ledger.state(), total=14, lease_size=4)
    assert drain(longer) == [2, *range(4, 14)]
    assert longer.finished


def test_a_resumed_run_may_be_shorter_and_then_long_again():
    ledger = RecordLedger(20, 10)
    ledger.lease("a")
    ledger.lease("a")
    ledger.settle("a", positions(0, 1, 12), Settlement.APPLIED)
    shorter = RecordLedger.restore(ledger.state(), total=6, lease_size=10)
    assert shorter.has_work
    assert drain(shorter) == [2, 3, 4, 5]
    assert shorter.finished
    assert not shorter.has_work
    long_again = RecordLedger.restore(shorter.state(), total=20, lease_size=10)
    assert not long_again.finished
    assert drain(long_again) == [*range(6, 12), *range(13, 20)]


def test_memory_does_not_grow_with_what_is_done():
    """After 4,000 leases of workers of which each tenth dies, it holds what is out now."""
    ledger = RecordLedger(40_000, LEASE)
    tracemalloc.start()
    try:
        for born in range(4_000):
            worker = f"worker-{born // 10}"
            lease = ledger.lease(worker)
            if lease is not None and born % 10:
                ledger.settle(worker, np.arange(*lease), Settlement.APPLIED)
            else:
                ledger.take_back(f"worker-{born // 10 - 1}")
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 20_000
    assert len(ledger.state().undone) < 10
