"""A clock that stands while nobody looks at it."""

from manylabel.storage.watched_time import WatchedTime


def test_it_goes_with_the_clock_but_for_long_gaps():
    times = iter([100.0, 101.0, 103.5, 8000.0, 8001.0, 8001.0])
    watched = WatchedTime(5.0, times.__next__)
    assert [watched() for _ in range(5)] == [1.0, 3.5, 8.5, 9.5, 9.5]
