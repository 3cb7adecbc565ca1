"""An interval set behaves as a set of integers that refuses to gain or lose one twice."""

from itertools import pairwise

import numpy as np
import pytest

from manylabel.trainer.records.intervals import IntervalSet, runs


def members(intervals):
    return {i for start, stop in intervals for i in range(start, stop)}


def is_canonical(intervals):
    """Sorted, disjoint and not even touching: one set has one form."""
    pairs = list(intervals)
    return all(a < b for a, b in pairs) and all(
        left[1] < right[0] for left, right in pairwise(pairs)
    )


@pytest.mark.parametrize("seed", range(20))
def test_it_behaves_like_a_set_of_integers(seed):
    random = np.random.default_rng(seed)
    intervals = IntervalSet()
    brute: set[int] = set()
    for _ in range(300):
        start = int(random.integers(0, 40))
        stop = start + int(random.integers(1, 8))
        span = set(range(start, stop))
        adds = random.random() < 0.5
        allowed = not (span & brute) if adds else span <= brute
        change = intervals.add if adds else intervals.remove
        if allowed:
            change(start, stop)
            brute = brute | span if adds else brute - span
        else:
            before = list(intervals)
            with pytest.raises(ValueError, match=f"\\[{start}, {stop}\\)"):
                change(start, stop)
            assert list(intervals) == before
        assert members(intervals) == brute
        assert is_canonical(intervals)
        assert intervals.size == len(brute)
        assert bool(intervals) == bool(brute)
        assert intervals.contains(start, stop) == (span <= brute)
        assert intervals.size_within(start, stop) == len(span & brute)


def test_take_first_takes_from_the_lowest_interval_only():
    intervals = IntervalSet([(10, 14), (3, 5)])
    assert intervals.take_first(9) == (3, 5)
    assert intervals.take_first(3) == (10, 13)
    assert intervals.take_first(3) == (13, 14)
    with pytest.raises(IndexError):
        intervals.take_first(1)


@pytest.mark.parametrize("interval", [(4, 4), (5, 4)])
def test_empty_intervals_are_refused(interval):
    intervals = IntervalSet([(0, 9)])
    with pytest.raises(ValueError, match="expected start < stop"):
        intervals.add(*interval)
    with pytest.raises(ValueError, match="not wholly in the set"):
        intervals.remove(*interval)


def test_equality_is_that_of_the_integers():
    assert IntervalSet([(0, 2), (2, 5)]) == IntervalSet([(0, 5)])
    assert IntervalSet([(0, 2), (3, 5)]) != IntervalSet([(0, 5)])
    assert IntervalSet() != []


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], []),
        ([7], [(7, 8)]),
        ([3, 1, 2], [(1, 4)]),
        ([9, 1, 2, 8, 5], [(1, 3), (5, 6), (8, 10)]),
    ],
)
def test_runs(values, expected):
    assert runs(np.asarray(values, np.int64)) == expected


def test_a_value_that_occurs_twice_yields_runs_that_a_set_refuses():
    overlapping = runs(np.asarray([1, 2, 2, 3]))
    with pytest.raises(ValueError, match="overlaps"):
        IntervalSet(overlapping)
